for run in out out2; do
    python -m ftc.compiler.cli compile spec.toml -o $run > out.txt
done
rm out.txt
echo '# more' >> out2/spec.toml
