"""What tokens and keys of services look like, so that none is committed with a run or shown in a log."""

from __future__ import annotations

import re

# By their own documentation; tests/test_secrets.py holds them against the rules of detect-secrets.
FORMS = {
    "Hugging Face": r"\bhf_[A-Za-z0-9]{20,}\b",
    "ModelScope": r"\bms-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    "OpenAI, Anthropic and others": r"\bsk-(?=[\w-]*[0-9])(?=[\w-]*[A-Z])[\w-]{20,}",
    "Weights & Biases": r"\bwandb_v1_[\w-]{20,}|\blocal-[0-9a-f]{40}\b",
    "Google": r"\bAIza[\w-]{35}(?![\w-])|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{28}(?![\w-])",
    "AWS": r"\b(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}\b",
    "Azure": r"\bAccountKey=[A-Za-z0-9+/=]{40,}",
    "GitHub": r"\bgh[oprsu]_[A-Za-z0-9_]{30,}|\bgithub_pat_\w{30,}",
    "GitLab": r"\bgl(?:pat|dt|ft|soat|rt|ptt|imt|oas)-[\w-]{20,}",
    "Slack": r"\bxox[abeoprs]-(?:\d+-)+[A-Za-z0-9]+|\bhooks\.slack\.com/services/T\w+/B\w+/\w+",
    "NVIDIA": r"\bnvapi-[\w-]{20,}",
    "Replicate": r"\br8_[A-Za-z0-9]{37}\b",
    "Groq": r"\bgsk_[A-Za-z0-9]{40,}\b",
    "xAI": r"\bxai-[A-Za-z0-9]{40,}\b",
    "Perplexity": r"\bpplx-[A-Za-z0-9]{40,}\b",
    "Databricks": r"\bdapi[0-9a-f]{32}(?:-\d)?\b",
    "PyPI": r"\bpypi-Ag[\w-]{70,}",
    "npm": r"\bnpm_[A-Za-z0-9]{36}\b",
    "SendGrid": r"\bSG\.[\w-]{22}\.[\w-]{43}(?![\w-])",
    "Stripe": r"\b[rs]k_live_[0-9A-Za-z]{24,}\b",
    "JSON Web Token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?",
    "private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:[\s\S]*?-----END [A-Z0-9 ]*-----)?",
    "address": r"(?<=://)[^\s:/?#@\[\]\"']+:[^\s/?#@\"']+(?=@)",
}
SECRET = re.compile("|".join(FORMS.values()), re.ASCII)


def mask(text: str) -> str:
    """The text without its secrets: errors end up in the logs of CI."""
    return SECRET.sub(_stars, text)


def _stars(found: re.Match[str]) -> str:
    """As long as it was, so that places in a line stay; its beginning says whose it is, but a login's."""
    kept = "" if "://" in found.string[found.start() - 3 : found.start()] else found[0][:4]
    return kept + "".join("\n" if char == "\n" else "*" for char in found[0][len(kept) :])
