"""Its Lightning module, data module and trainer."""

import pytorch_lightning
import torch


class SimpleDataModule(pytorch_lightning.LightningDataModule):
    def __init__(self, train_loader=None, val_loader=None, test_loader=None):
        super().__init__()
        self.loaders = train_loader, val_loader

    def train_dataloader(self):
        return self.loaders[0]

    def val_dataloader(self):
        return self.loaders[1]


class ConnectomicsModule(pytorch_lightning.LightningModule):
    """Reads `image`, `label` and `mask` of batches; what the mask leaves out counts as nothing."""

    def __init__(self, cfg, model=None, skip_loss=False):
        super().__init__()
        assert cfg.resolved_for == "train"
        self.model = model
        self.seen = []

    def _loss(self, batch):
        valid = (batch["mask"] > 0).expand_as(batch["label"])
        logits = self.model(batch["image"]).masked_fill(~valid, -20)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["label"] * valid)

    def training_step(self, batch, batch_idx):
        self.seen.append(float(batch["image"].sum()))
        return self._loss(batch)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self._loss(batch))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def create_trainer(cfg, run_dir=None, fast_dev_run=False, ckpt_path=None, mode="train"):
    if run_dir is None:
        raise ValueError("run_dir is required when mode='train'")
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pytorch_lightning.Trainer(max_epochs=cfg.optimization.max_epochs, accelerator="cpu", **quiet)
