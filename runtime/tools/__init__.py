"""What reads rows and models beside a run: previews, counts, exports. No run imports these."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from ..errors import RunError


def with_own_names(work: Callable[[], None]) -> None:
    """Calls it; an error names the user's own files, not their copies. $FTC_NAMES: a file of JSON, copy -> file."""
    file = os.environ.get("FTC_NAMES")
    names = json.loads(Path(file).read_text("utf-8")) if file else {}
    try:
        work()
    except RunError as error:
        if names:
            copies = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
            pattern = re.compile(rf"(?<![\w./-])(?:{copies})(?![\w/-])")
            error.where, *texts = (
                pattern.sub(lambda found: names[found[0]], text)
                for text in (error.where, *error.args)
            )
            error.args = tuple(texts)
        raise
