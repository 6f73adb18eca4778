"""What each code of a diagnostic means. SARIF's rules and the reference page are made from this.

A code is stable: scripts and suppressions name it. A new one needs a sentence here and, if the
compiler says it, a case under tests/errors.
"""

from __future__ import annotations

# What is wrong with a data file, found by `ftc check` in a small one, and by the run. The place is that in the file.
ROWS = {
    "damaged-file": "A data file is damaged, or not of its kind.",
    "bad-encoding": "A data file is not UTF-8.",
    "bad-json": "A row of a data file is not JSON, or the file is not a list of rows.",
    "bad-table": "A row of a .csv or .tsv file does not have the fields that its header names.",
    "bad-row": "A row is not of its source's format.",
}

# By what one is about, in the order of the reference page.
COMPILER: dict[str, dict[str, str]] = {
    "Reading the spec": {
        "not-found": "There is no file by the name that was given as the spec.",
        "not-a-file": "What was given as the spec is a folder.",
        "unreadable": "The operating system refuses to read the spec, for the reason given.",
        "too-large": "The spec is larger than 10 MB, so it is surely no spec.",
        "encoding": "The spec is not UTF-8, as TOML has to be.",
        "syntax": "The spec is not TOML. Until it is, nothing else can be judged.",
        "too-deep": "Lists or tables are nested more deeply than any key of a spec needs.",
        "duplicate-key": "A key is set twice. TOML allows that in no case, even with equal values.",
        "duplicate-table": "A table is opened twice. Its keys belong under one header.",
        "too-many": "There are more than a hundred problems. In JSON and SARIF, this counts those that are not shown.",
        "empty-spec": "The spec has no key at all.",
        "bad-set": "A `--set` that is not KEY=VALUE, or that has no place in the spec.",
    },
    "One key": {
        "unknown-key": "No such key exists there. A key that is not known is never ignored, so that "
        "a misspelt one can't turn into a default in silence.",
        "missing-key": "A key that the table needs is not set.",
        "missing-table": "A table that every spec needs is not there.",
        "wrong-type": "The value has another type than the key takes. No value is converted: "
        '"8" is a text, and no number.',
        "unknown-value": "The value is none of those that the key can have.",
        "out-of-range": "The value has the right type, but is too small, too large, or empty.",
        "bad-form": "The text does not have the form that the key needs, because it ends up in a "
        "path, a script or an environment variable.",
        "secret-in-spec": "A value looks like a token or a key of a service. The spec is copied into "
        "the run and committed with it, so it would be published.",
    },
    "Keys that do not go together": {
        "conflict": "Two keys contradict each other, or a key has no effect beside another.",
        "batch-arithmetic": "The global batch can't be shared out evenly: it has to be a multiple of "
        "devices x micro-batch.",
        "warmup-too-long": "The learning rate would still be warming up when the run ends.",
        "nothing-to-evaluate": "A key asks for a validation loss, and there are no validation data.",
        "nothing-to-train": "Every weight would be frozen.",
        "zero-stage": "The ZeRO stage does not do what is asked of it with this model or method.",
    },
    "The model": {
        "unknown-model": "The base is no preset, no Hub id, and no folder with a model.",
        "bad-model": "The folder has a config.json that does not describe a model, or weight "
        "files that are cut or damaged.",
        "pickled-weights": "The base has its weights in pickled files alone, and the spec does not allow them: to load "
        "such a file can run code.",
        "not-causal": "The base is no causal language model that can be loaded: it fills gaps in a text, turns "
        "one text into another, answers to pictures or sounds, lacks the head for tokens, or is of a "
        "type that transformers does not know. Only a model that goes on with a text can be trained to answer.",
        "untrusted-code": "The base is loaded by code of its own, and the spec does not allow to run it. "
        "A warning where only its name says so.",
        "quantized-base": "The base's weights are quantized already, by its config.json or by the end of its name. A "
        'run trains on plain weights, or packs them itself (`kind = "qlora"`). A warning where it can train.',
        "unpinned": "Something of the Hub is named without a commit, or by a branch or tag. What it is may "
        "change from one day to the next, and so may the run. A warning: the spec compiles.",
        "no-package": "The weights are to come from a package, and none carries them.",
        "no-embedding": "The tokenizer has a token that the model has no embedding for, and the chat "
        "template, or a prompt of [samples], uses it.",
        "no-tokenizer": "The model's folder has no tokenizer, or one without the tokenizer.json that says all of it. "
        "The latter is a warning: the spec compiles, and the launch compares.",
        "too-long-for-model": "Sequences are longer than the model has positions for.",
        "unknown-module": "An adapter is to go on a layer that the model does not have.",
        "unknown-chat-template": "The chat template is none of those that ftc ships, and no file.",
        "no-chat-template": "The model's own chat template can't be known without asking the Hub, and "
        "the spec names no other.",
        "asks-the-day": "The chat template puts today's date into each prompt, and the spec sets none. Every "
        "render gets the same one, which is in the past. A warning: the spec compiles.",
        "bad-chat-template": "The file of the chat template is not UTF-8, or not Jinja.",
    },
    "The data": {
        "no-source": "A pattern for data files matches none.",
        "bad-source": "The source is no kind of file that ftc reads, and no Hub id.",
        "missing-file": "The spec names a file that is not there.",
        "empty-data": "The data file has no rows.",
        **ROWS,
        "missing-column": "The rows do not have the columns that the format reads.",
        "unknown-format": "No format has that name, and it is not `FILE.py:FUNCTION`.",
        "no-format": "The format is to be told by the columns, and they fit none, or several.",
        "bad-format": "The function of a custom format can't be used: its file is missing or not "
        "Python, or it has no such function.",
        "pairs-not-trained": "The rows are pairs of a better and a worse answer, and no method of "
        "ftc learns from those yet.",
        "source-twice": "Two sources of training rows have the same content.",
        "trained-and-held-out": "A file of the validation is trained on, every row of it.",
        "few-steps": "The run has so few optimizer steps that the model learns little. The compiler counts "
        "by the bytes of the rows, `ftc check --data` by their tokens. A warning: the spec compiles.",
        "many-dropped": "A large part of the rows is longer than max_seq_length, and would be left out. A "
        "warning: the spec compiles.",
        "images-not-read": "The rows may hold images, and ftc trains on their text alone. A warning: "
        "the spec compiles.",
    },
    "The hardware": {
        "attention-not-supported": "The hardware, or the dtype on it, can't run this attention.",
        "dtype-not-supported": "The hardware does not compute in this dtype.",
        "will-not-fit": "What lies on each GPU for certain is more than its memory: weights, gradients, float32 "
        "copies, the optimizer's state. A lower bound, so a run without this warning may be too large, too.",
        "heads-not-shared": "Devices that share a sequence share out the heads of attention, and the model's "
        "can't be shared out evenly among so many.",
        "kernels-not-supported": "The kernels don't run on this hardware, or not for this model.",
        "engine-not-supported": "The server does not run on this hardware.",
    },
    "The run directory": {
        "bad-output": "No run can be written there: it is something else, or not writable.",
        "same-output": "Two of the specs that are compiled would be written to one directory, the later "
        "over the earlier.",
        "edited": "A generated file was edited since. ftc does not overwrite work unasked.",
        "exists": "`ftc new` does not overwrite a file.",
        "no-lock": "The directory has no ftc.lock that can be read, so it is no run of ftc, or a "
        "damaged one.",
        "pending": "A compilation into the directory was interrupted, or has not ended, so its files may be "
        "those of two runs.",
        "not-written": "The operating system refuses to write the file, for the reason given.",
        "no-runtime": "The runtime that the command needs is not installed.",
        "internal": "ftc made a file that is not valid. Nothing was written; it is a fault of ftc.",
    },
    "Revisions, for `ftc diff`": {
        "no-git": "A revision was named, and git is not installed.",
        "no-repository": "A revision was named outside of a git repository.",
        "unknown-revision": "git knows no revision by that name.",
        "not-in-revision": "The revision has no such file.",
    },
}

# What the scripts of a run say, from `ftc.runtime`.
RUN: dict[str, str] = {
    "no-lock": "The run directory lacks its ftc.lock, so nobody can say what the run is.",
    "no-locks": "The file system of a cache refuses locks, so processes that write there could harm each other.",
    "pending": "A compilation into the run directory was interrupted, or has not ended, so its files may be "
    "those of two runs.",
    "other-batch": "ds_config.json and train.py count another batch, so one of them is of another "
    "compilation, or was edited.",
    "drift": "Something that the run was compiled from is another now: the data, the base model or "
    "the runtime. It would not be the run that was compiled.",
    "already-started": "An earlier start of this run left checkpoints. Training from the start would "
    "mix two series of them.",
    "already-running": "Two starts of one run at a time would write over each other.",
    "world-size": "Another number of processes was started than the batch was worked out for.",
    "other-run": "The checkpoint belongs to a run with another model, method or data.",
    "no-checkpoint": "There is no such checkpoint, or it is not complete.",
    "damaged-checkpoint": "A checkpoint is not what was written: its digests differ.",
    "not-elastic": "The optimizer's state is cut up for the number of processes that wrote it, and "
    "this optimizer's can't be cut anew.",
    "not-shared": "The nodes do not share the file system that the run directory is on.",
    "cannot-save": "A checkpoint could not be written. The last good one is still there.",
    "disk-full": "The disk filled up while the run was writing.",
    "out-of-memory": "The device has too little memory for the step.",
    "not-installed": "The environment lacks a package that the run's requirements.txt pins.",
    "tracker-without-address": "A tracker is to send, and no environment variable says where to.",
    "id-beyond-model": "A row or a prompt has a token that the model has no embedding for.",
    "samples-not-isolated": "The architecture lets samples that share a row see each other.",
    "rows-not-shared": "With this architecture, processes can't share a sequence.",
    "loss-not-finite": "The loss is no finite number, so a step on it would ruin the weights.",
    "gradient-not-finite": "The gradient was no finite number, and the step on it was taken.",
    "refused": "A library does not take a value that it was given, and says why.",
    "cannot-load": "A library ended while the run was loading, most often because of a damaged file.",
    "no-access": "The run may not read or write what it has to.",
    "peer-lost": "Another process of the run ended, so this one ends, too.",
    "bad-node": "Which node this is, or where node 0 is, is not said, or it can't be so.",
    "node-missing": "Another node did not come to the meeting of all nodes in time.",
    "not-the-base": "The model that was loaded has other weights than the base's files, or computes something else "
    "than its config gives.",
    "weights-not-finite": "Weights of the base are infinite or no numbers, in the files or in the dtype of the run.",
    "logits-not-finite": "The base answers with what is no number.",
    "no-model": "The base model's package or tokenizer could not be had, or the package holds other weights.",
    "not-exported": "The adapter or the merged model could not be made. What is told as made is whole and proven.",
    "no-tokenizer": "The base has no tokenizer, or one that transformers can't make of its files as they are meant.",
    "other-model": "The checkpoint does not fit the model that it is to be converted with.",
    "other-tokens": "The template and the tokenizer that are exported would not make the tokens that "
    "the run was trained on.",
    "logits-differ": "The model does not answer as it did when it was saved, so it is neither exported nor "
    "trained further.",
    "warmup-too-long": "The run has fewer steps than its learning rate takes to warm up.",
    "other-samples": "The rows become other tokens, or others of them are held out, than when the "
    "checkpoint was saved: going on would train on another set, or validate on what was trained on.",
    "short-step": "Going on from a run's short last step would leave rows out of a longer one.",
    "missing-file": "A file that the run was compiled with is gone, or may not be read.",
    "no-data": "A data set of the Hub could not be had.",
    "changed-file": "A data file changed while it was read.",
    **ROWS,
    "bad-format": "The file of a custom format does not run, or lacks the function.",
    "empty-data": "A data file has no row.",
    "mixed-kinds": "Rows of different formats can't be written to one file.",
    "token-zero": "A token of an InternEvo file has no sign, so whether it is learnt can't be told.",
    "too-many-{name}": "More rows are dropped or truncated than the spec allows.",
    "preference-rows": "The rows are pairs of answers, which no method learns from yet.",
    "no-cache": "The folder for tokens can't be written.",
    "not-written": "A file could not be written.",
    "killed": "A process that tokenizes was killed, most likely for want of memory.",
    "unknown-module": "A name or pattern of the spec matches nothing in the model.",
    "nothing-to-train": "Every weight is frozen.",
    "not-adaptable": "PEFT can't put an adapter there, or not of this kind, or it could not be exported.",
    "other-adapters": "PEFT adapted something else than the spec names, or other numbers of parameters than the "
    "plan counts.",
    "no-gradient": "The loss does not depend on an adapter, so that it would never learn.",
    "rope-scaled-already": "The model's positions are scaled already.",
    "no-samples": "No row is left to train on, or to validate on.",
    "overlong-row": 'A row is longer than max_seq_length, and data.on_overlong is "error".',
    "slow-tokenizer": "The tokenizer can't say where in the text a token stands, which masks need.",
    "no-end-token": "Answers or texts would end without an end token, and the model would never "
    "learn to stop.",
    "double-bos": "A conversation or a text would begin with two BOS tokens.",
    "template-marks": "The template marks other stretches as learnt than the row has answers.",
    "template-without-tools": "The row has tools, and the template would leave them out.",
    "template-refused": "The chat template refuses a conversation: of the data, or a prompt of [samples] or "
    "[chat], mostly for its system message.",
    "template-not-a-prefix": "The model's own template does not render a conversation from left to "
    "right, so which text is the answer can't be told.",
}

MEANINGS = {code: text for codes in COMPILER.values() for code, text in codes.items()}
