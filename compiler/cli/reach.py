"""Whether the Hub can be reached at all, which takes its own client half a minute of retries to find out."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

HUB = "https://huggingface.co"
SECONDS = 5  # for a connection
PORTS = {"http": 80, "https": 443}


def hub_is_away() -> bool:
    """Whether no connection to the Hub, or to the proxy before it, can be opened. Sends nothing."""
    proxies = getproxies()
    try:
        address = urlsplit(os.environ.get("HF_ENDPOINT") or HUB)
        proxy = proxies.get(address.scheme) or proxies.get("all")
        if proxy and not proxy_bypass(address.hostname or ""):
            address = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        place = (address.hostname or "", address.port or PORTS.get(address.scheme, 1080))
        with socket.create_connection(place, SECONDS):
            return False
    except (OSError, ValueError):
        return True
