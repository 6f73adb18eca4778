mkdir -p runs/first runs/other; echo "{}" > runs/first/ftc.lock
