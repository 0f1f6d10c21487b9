"""Train on the challenge's bucket, without fetching it:  csc train stream_from_s3.py  (or: python stream_from_s3.py)

The datasplit is made from what the bucket holds; its rows are s3:// places, which are read anonymously, chunk by chunk.
What is read stays in memory up to `cache_bytes`, so crops that fit travel once; `csc fetch-data` keeps them on disk.
Another bucket or server: csc config set bucket NAME; csc config set endpoint URL; csc-data's README has credentials.

    python -c "from stream_from_s3 import look; print(look().mean())"    # a box of raw, without training
"""

classes = ["mito", "er", "nuc"]
datasets = ["jrc_cos7-1a", "jrc_cos7-1b"]
use_s3 = True
datasplit_path = "datasplit_s3.csv"  # beside that of the data folder, whose rows are files
input_array_info = {"shape": (96, 96, 96), "scale": (8, 8, 8)}

model_name = "stream_from_s3"
architecture = "3d_unet"
model_kwargs = {"trilinear": True}
epochs = 200
iterations_per_epoch = 500
batch_size = 4
precision = "bf16-mixed"

num_workers = 8  # read ahead, while the network computes
cache_bytes = 16 * 2**30  # of decoded crops, in all processes of this machine together

RAW = "s3://janelia-cosem-datasets/jrc_cos7-1a/jrc_cos7-1a.zarr/recon-1/em/fibsem-uint8"


def look(place=RAW, begin_nm=(4000, 4000, 4000), shape=(64, 64, 64), voxel_size=(16, 16, 16)):
    """Read a box of a volume at any voxel size, from the level that suits it."""
    from csc_data import Grid, open_volume

    grid = Grid(voxel_size=voxel_size, translation=begin_nm, shape=shape)
    return open_volume(place).read(grid, order=1)


if __name__ == "__main__":
    from csc_train import train

    train(__file__)
