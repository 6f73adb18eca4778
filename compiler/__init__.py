"""The compiler: a spec in, the files of a run directory out. Each stage is a function of its own.

document = load("spec.toml")
checked = validate(document)          # raises CompileError with every problem
plan = resolve(checked)
files = compile_document(document).files
"""

from .check.validate import validate
from .diagnostics.diagnostic import CompileError, Diagnostic
from .document.load import Document
from .emit.files import Files
from .emit.render import render
from .emit.verify import verify
from .facts.checked import Checked
from .pipeline.compile import Compiled, compile_document, compile_file, compile_for, load
from .plan.plan import Plan
from .plan.resolve import resolve
from .run_dir.write import write

__all__ = [
    "Checked",
    "CompileError",
    "Compiled",
    "Diagnostic",
    "Document",
    "Files",
    "Plan",
    "compile_document",
    "compile_file",
    "compile_for",
    "load",
    "render",
    "resolve",
    "validate",
    "verify",
    "write",
]
