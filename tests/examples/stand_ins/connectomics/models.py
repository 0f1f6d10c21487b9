"""Its factory of networks."""

import torch


class DeeplySupervised(torch.nn.Module):
    """Gives `output`, and `ds_1` and `ds_2`, which are half and a quarter as fine, also in evaluation."""

    def __init__(self, channels):
        super().__init__()
        self.head = torch.nn.Conv3d(1, channels, 3, padding=1)

    def forward(self, x):
        output = self.head(x)
        halves = [torch.nn.functional.avg_pool3d(output, 2**level) for level in (1, 2)]
        return {"ds_2": halves[1], "ds_1": halves[0], "output": output}


def build_model(cfg):
    assert cfg.model.arch.type == "mednext"
    if cfg.model.loss.deep_supervision:
        return DeeplySupervised(cfg.model.out_channels)
    return torch.nn.Conv3d(cfg.model.in_channels, cfg.model.out_channels, 3, padding=1)
