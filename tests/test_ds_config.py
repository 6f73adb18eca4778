"""DeepSpeed's own reading of each ds_config.json: it takes every key, and works out the batch that was planned."""

import json
import re
from types import SimpleNamespace

import pytest

from .specs import SPECS, furnish, render


class Watched(dict):
    """A dictionary that remembers which of its keys were asked for."""

    def __init__(self, content, asked):
        super().__init__(content)
        self.asked = asked

    def __copy__(self):
        return self

    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        self.asked.add(key)
        return super().__contains__(key)


@pytest.mark.parametrize("case", SPECS)
def test_deepspeed_takes_every_key(tmp_path, monkeypatch, case):
    from deepspeed.runtime import config as deepspeed_config

    furnish(tmp_path)
    files = render(SPECS[case], tmp_path)
    config = json.loads(files["ds_config.json"].content)
    script = files["train.py"].content.decode()
    sizes = dict(re.findall(r"^(WORLD_SIZE|DATA_PARALLEL_SIZE) = (\d+)", script, re.MULTILINE))
    ranks = int(sizes.get("DATA_PARALLEL_SIZE", sizes["WORLD_SIZE"]))
    monkeypatch.setattr(deepspeed_config.dist, "get_rank", lambda: 0)
    mpu = SimpleNamespace(get_data_parallel_world_size=lambda: ranks)
    asked: set[str] = set()
    read = deepspeed_config.DeepSpeedConfig(Watched(config, asked), mpu=mpu)
    assert config.keys() <= asked, "DeepSpeed passes over a key that it does not know"
    assert read.train_batch_size == config["train_batch_size"]
    assert read.zero_config.stage == config["zero_optimization"]["stage"]
    offload = config["zero_optimization"].get("offload_param")
    assert (read.zero_config.offload_param is not None) == (offload is not None)
