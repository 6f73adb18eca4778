"""No token, key or password is committed with a run or shown: the forms of well-known services."""

import random
import re

import pytest
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from ftc.compiler.diagnostics.secrets import FORMS, SECRET, mask
from hypothesis import given, settings
from hypothesis import strategies as st

# Of a well-kept library, the rules for what is a secret by its form alone.
RULES = [
    (kind, re.compile(rule.pattern))  # in the case that it is written in
    for kind in (
        "AWS Access Key",
        "Basic Auth Credentials",
        "GitHub Token",
        "GitLab Token",
        "Private Key",
        "PyPI Token",
        "SendGrid API Key",
        "Slack Token",
        "Stripe Access Key",
    )
    for rule in get_mapping_from_secret_type_to_class()[kind].denylist
    if not re.search(r"aws\.|GR1348941|glcbt|glagent|DSA|SSH2|PuTTY", rule.pattern)
]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@pytest.mark.parametrize(("kind", "rule"), RULES, ids=lambda value: str(value)[:30])
def test_what_detect_secrets_knows_by_its_form_is_known(kind: str, rule: re.Pattern[str]) -> None:
    @settings(max_examples=20, database=None, deadline=None)
    @given(
        st.from_regex(
            rule,
            fullmatch=True,
            alphabet=st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\"'"),
        )
    )
    def known(text: str) -> None:
        text = f"-----{text}-----" if kind == "Private Key" else text
        shown = (
            f"x = '{'https' if text.startswith('://') else ''}{text}host'" if "@" in text else text
        )
        assert SECRET.search(shown), shown

    known()


def letters(count: int, alphabet: str = LETTERS) -> str:
    return "".join(random.Random(count).choices(alphabet, k=count))


HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + letters(34),
        "ms-" + "-".join(letters(n, HEX) for n in (8, 4, 4, 4, 12)),
        "sk-ant-api03-" + letters(60),
        "wandb_v1_" + letters(40),
        "AIza" + letters(35),
        "ASIA" + letters(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
        "nvapi-" + letters(64),
        "r8_" + letters(37),
        "gsk_" + letters(52),
        "eyJ" + letters(30) + ".eyJ" + letters(60) + "." + letters(43),
        "-----BEGIN OPENSSH PRIVATE KEY-----\n"
        + letters(64)
        + "\n-----END OPENSSH PRIVATE KEY-----",
    ],
)
def test_a_secret_is_known_and_never_shown(secret: str) -> None:
    text = f"token = {secret} # mine"
    assert SECRET.search(text)
    shown = mask(text)
    assert len(shown) == len(text) and secret[8:-4] not in shown and shown.endswith(" # mine")


def test_a_password_in_an_address_is_not_shown() -> None:
    shown = mask(
        "can't reach https://jo:s3cret@hub.example.org/a, ssh://git@example.org or http://[::1]:80/x@y"
    )
    assert shown == (
        "can't reach https://*********@hub.example.org/a, ssh://git@example.org or http://[::1]:80/x@y"
    )


@pytest.mark.parametrize(
    "harmless",
    [
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",  # a digest
        "0123456789abcdef0123456789abcdef01234567",  # a commit
        "acme/sk-learn-for-long-sequences",
        "Qwen/Qwen2.5-7B-Instruct",
        "https://example.org:8080/path?x=a:b@c",
        "hf_transfer, gsk, r8_model, local-files-only",
    ],
)
def test_what_only_looks_alike_is_no_secret(harmless: str) -> None:
    assert not SECRET.search(harmless), FORMS


def test_an_error_of_a_run_shows_no_login_and_commands_no_terminal() -> None:
    from ftc.runtime.errors import RunError

    said = str(
        RunError("x", "no answer from https://jo:pw@host/", "a\x1b[2Jb\u202ec", where="rows\x07")
    )
    assert said == (
        "rows\\x07: error[x]: no answer from https://***@host/\n  hint: a\\x1b[2Jb\\u202ec"
    )
