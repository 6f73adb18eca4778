git init -q .
git add spec.toml rows.jsonl
git -c user.name=ftc -c user.email=ftc@example.org -c commit.gpgsign=false commit -q -m one
sed -i s/sede/seed/ spec.toml
