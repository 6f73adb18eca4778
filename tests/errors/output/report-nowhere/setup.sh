ftc compile spec.toml -o run >/dev/null
