mkdir -p run; echo "{" > run/ftc.lock
