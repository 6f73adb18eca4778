"""The OpenAI-compatible server that deploy.sh starts where lmdeploy has no GPU to run on.

    python -m ftc.runtime.serve export/merged --port 23333 --model-name quickstart

One model, one generation at a time. What a request asks for is done, or refused with OpenAI's error object
before anything is generated; nothing is left out in silence. The prompt is rendered as training rendered it.
"""
