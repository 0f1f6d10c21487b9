"""Predict the test crops with the network that train_2D.py trained: planes across z, y and x, and their mean.

    csc predict predict_2D.py   (or: python predict_2D.py)

What is stored are probabilities, of which process_2D.py makes masks and objects. `csc predict --dry-run` tells what it
takes.
"""

from csc_data.config.experiment import load_safe_config

# All that train_2D.py says holds here, too: classes, voxels, the network, and where its checkpoints lie
globals().update(load_safe_config(__file__.replace("predict", "train")).to_dict())

checkpoint = "best"  # or "latest", or a file
crops = ["test"]  # or "validation", "annotated", ids such as "557", patterns such as "jrc_hela-2/*"

if __name__ == "__main__":
    from csc_train import predict

    result = predict(__file__, overwrite=True, on_plan=lambda plan: print(*plan.lines, sep="\n", flush=True))
    print(f"predicted {len(result.crops)} crops in {result.seconds:.0f} s")
