"""Published models of images: logits and gradients of torchvision's and timm's, with values that both
sides draw from the name of each tensor. Each case stores, under the name of our model,

    logits, logits_eval    of a training step and of evaluation
    grad.<their name>      sum, sum of absolute values, first and last element of each gradient of
                           Σ logits ∘ g
    after.<their name>     the same of each buffer after the step
"""
import timm
import torch
import torchvision

from stream import values
from training import initial, summary

SEED = 31
BATCH, CLASSES, SIDE = 4, 10, 64
SIDES = {"efficientformer-l1": 224}  # its attention is made for 7x7 tokens


def models():
    vision = dict(num_classes=CLASSES)
    return {
        "resnet18": torchvision.models.resnet18(**vision),
        "resnet50": torchvision.models.resnet50(**vision),
        "mobilenetv2": torchvision.models.mobilenet_v2(dropout=0.0, **vision),
        "efficientnet-lite0": timm.create_model("tf_efficientnet_lite0", bn_momentum=0.01, **vision),
        "efficientformer-l1": timm.create_model("efficientformer_l1", **vision),
        "efficientformerv2-s0": timm.create_model("efficientformerv2_s0", img_size=SIDE, **vision),
        "swinv2-s": with_exact_distances(timm.create_model(
            "swinv2_small_window8_256", img_size=SIDE, drop_path_rate=0.0, **vision)),
        "deit-ti": timm.create_model("deit_tiny_patch16_224", img_size=SIDE, **vision),
    }


def with_exact_distances(model):
    """Swin's table of distances in float64; timm makes it in float32."""
    for module in model.modules():
        if hasattr(module, "relative_coords_table"):
            side = module.window_size[0]
            d = torch.arange(-(side - 1), side, dtype=torch.float64) * 8 / max(side - 1, 1)
            d = torch.sign(d) * torch.log2(d.abs() + 1) / 3
            module.relative_coords_table = torch.stack(torch.meshgrid(d, d, indexing="ij"), -1)[None]
    return model


def make():
    tensors = {}
    for name, model in models().items():
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if value.is_floating_point():
                    value.copy_(torch.from_numpy(initial(f"{name}/{key}", value.shape, SEED)))
        side = SIDES.get(name, SIDE)
        x = torch.from_numpy(values((BATCH, 3, side, side), SEED, f"{name}/x"))
        g = torch.from_numpy(values((BATCH, CLASSES), SEED, f"{name}/g"))
        with torch.no_grad():
            tensors[f"{name}/logits_eval"] = model.eval()(x)
        y = model.train()(x)
        (y * g).sum().backward()
        tensors[f"{name}/logits"] = y
        for key, p in model.named_parameters():
            tensors[f"{name}/grad.{key}"] = summary(p.grad)
        for key, b in model.named_buffers():
            if b.is_floating_point() and key in model.state_dict():
                tensors[f"{name}/after.{key}"] = summary(b)
    return tensors
