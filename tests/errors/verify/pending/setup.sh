mkdir run; echo '{}' > run/ftc.lock; echo '{' > run/ftc.lock.new
