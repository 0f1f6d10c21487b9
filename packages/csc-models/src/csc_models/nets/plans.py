"""Networks from nnU-Net's plans: what a configuration of a ``plans.json`` says, as a name and arguments of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csc_models.errors import ModelArgumentError
from csc_models.specification.arguments import plain_value

_CLASSES = {"PlainConvUNet": "plain_unet", "ResidualEncoderUNet": "resenc_unet"}
_COUNTS = {"plain_unet": "n_conv_per_stage", "resenc_unet": "n_blocks_per_stage"}
_NORMS = {"InstanceNorm": "instance", "BatchNorm": "batch"}
_NONLINEARITIES = {
    "LeakyReLU": "leaky_relu", "ReLU": "relu", "PReLU": "prelu", "ELU": "elu", "GELU": "gelu", "SiLU": "silu",
}  # fmt: skip
# What the published classes take and no plan of nnU-Net's planners sets.
_ABSENT = {"nonlin_first": False, "block": "BasicBlockD", "bottleneck_channels": None, "stem_channels": None}


def network_of_plan(configuration: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of the network that a configuration plans.

    Parameters
    ----------
    configuration : mapping
        One of the ``configurations`` of a ``plans.json``, with what it inherits filled in. It has either an
        ``architecture`` (``network_class_name`` and ``arch_kwargs``) or, written before nnU-Net 2.4,
        ``UNet_class_name``, ``conv_kernel_sizes``, ``pool_op_kernel_sizes`` and so on.

    Returns
    -------
    name : str
        Such as ``"3d_resenc_unet"``.
    arguments : dict
        For `create_model`; the numbers of channels and classes are not in a plan, and deep supervision is left out.

    Raises
    ------
    ModelArgumentError
        The plan lacks something, or wants a network or a layer that is not here.

    Examples
    --------
    >>> name, arguments = network_of_plan({
    ...     "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 32, "unet_max_num_features": 320,
    ...     "n_conv_per_stage_encoder": [2, 2], "n_conv_per_stage_decoder": [2],
    ...     "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3]], "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2]],
    ... })
    >>> name, arguments["features"], arguments["strides"]
    ('3d_plain_unet', (32, 64), ((1, 1, 1), (1, 2, 2)))
    """
    try:
        if "architecture" in configuration:
            architecture = configuration["architecture"]
            return _network(architecture["network_class_name"], architecture["arch_kwargs"])
        return _network(configuration["UNet_class_name"], _older(configuration))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelArgumentError(f"a configuration of nnU-Net's plans cannot be read: {error!r}") from error


def _older(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Say in today's words what plans before nnU-Net 2.4 say."""
    counts, kernels = configuration["n_conv_per_stage_encoder"], configuration["conv_kernel_sizes"]
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    return {
        "n_stages": len(counts),
        "features_per_stage": [min(base * 2**stage, most) for stage in range(len(counts))],
        "conv_op": f"Conv{len(kernels[0])}d",
        "kernel_sizes": kernels,
        "strides": configuration["pool_op_kernel_sizes"],
        "n_conv_per_stage": counts,
        "n_blocks_per_stage": counts,
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "InstanceNorm",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "LeakyReLU",
    }


def _network(class_name: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    name = _choice("network", class_name, _CLASSES)
    ndim = _choice("conv_op", given["conv_op"], {"Conv2d": 2, "Conv3d": 3})
    stages = given["n_stages"]
    for option, usual in _ABSENT.items():
        if _last(given.get(option, usual)) != usual:
            raise _unknown(option, given[option])
    arguments = {
        "features": _each(given["features_per_stage"], stages),
        "blocks": _each(given[_COUNTS[name]], stages),
        "decoder_blocks": _each(given["n_conv_per_stage_decoder"], stages - 1),
        "kernels": _each(given["kernel_sizes"], stages),
        "strides": _each(given["strides"], stages),
        "conv_bias": given.get("conv_bias", False),
    }
    norm = _last(given.get("norm_op"))
    if norm is not None:
        arguments["norm"] = _choice("norm_op", norm.removesuffix(f"{ndim}d"), _NORMS)
        options = _options(given, "norm_op", eps=1e-5, affine=arguments["norm"] == "batch")
        arguments.update({f"norm_{key}": value for key, value in options.items()})
    else:
        arguments["norm"] = "none"
    if given.get("nonlin") is None:
        arguments["nonlinearity"] = "none"
    else:
        arguments["nonlinearity"] = _choice("nonlin", given["nonlin"], _NONLINEARITIES)
        slopes = {"negative_slope": 0.01} if arguments["nonlinearity"] == "leaky_relu" else {}
        arguments["slope"] = _options(given, "nonlin", **slopes).get("negative_slope", 0.01)
    if given.get("dropout_op") is not None:
        _choice("dropout_op", given["dropout_op"], {f"Dropout{ndim}d": True})
        arguments["dropout"] = _options(given, "dropout_op", p=0.5)["p"]
    return f"{ndim}d_{name}", arguments


def _each(value: Any, count: int) -> Any:
    """Return one entry per stage; one number is for all of them."""
    return plain_value([value] * count if isinstance(value, int) else list(value))


def _last(path: Any) -> Any:
    """Return the name of a class without its modules; classes are text in a file."""
    return path.rsplit(".", 1)[-1] if isinstance(path, str) else getattr(path, "__name__", path)


def _choice(option: str, path: Any, known: Mapping[str, Any]) -> Any:
    found = _last(path)
    if found not in known:
        raise _unknown(option, path, f" (here are {', '.join(known)})")
    return known[found]


def _options(given: Mapping[str, Any], option: str, **known: Any) -> dict[str, Any]:
    """Return the keywords of a layer; those about memory and the speed of running averages are passed over."""
    keywords = dict(given.get(f"{option}_kwargs") or {})
    unknown = keywords.keys() - known.keys() - {"inplace", "momentum"}
    if unknown:
        raise _unknown(f"{option}_kwargs", keywords)
    return {key: keywords.get(key, usual) for key, usual in known.items()}


def _unknown(option: str, value: Any, known: str = "") -> ModelArgumentError:
    return ModelArgumentError(f"nnU-Net's plan has {option}={value!r}, which the networks here do not have{known}")
