"""Make masks and objects of what predict_3D.py predicted.

    csc process process_3D.py   (or: python process_3D.py)

Then: csc pack-results, and csc evaluate where there is a truth. `csc submit process_3D.py` does all of it.
"""

from csc_data.config.experiment import load_safe_config

# All that train_3D.py says holds here, too: of it, processing takes the classes
globals().update(load_safe_config(__file__.replace("process", "train")).to_dict())

# Without these two lines a file that calls load_safe_config is taken for one of the official toolbox, whose functions
# get logits with the axes of a batch
process_form = "block"
process_values = "probability"


def process_func(x):  # one class of a block: float32 (z, y, x)
    return x > 0.5


if __name__ == "__main__":
    from csc_submit import process

    for row in process(__file__, overwrite=True).rows:
        print(f"{row.status}: {row.path or row.reason}")
