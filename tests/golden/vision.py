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


def models():
    vision = dict(num_classes=CLASSES)
    return {
        "resnet18": torchvision.models.resnet18(**vision),
        "resnet50": torchvision.models.resnet50(**vision),
        "mobilenetv2": torchvision.models.mobilenet_v2(dropout=0.0, **vision),
        "efficientnet-lite0": timm.create_model("tf_efficientnet_lite0", bn_momentum=0.01, **vision),
        "deit-ti": timm.create_model("deit_tiny_patch16_224", img_size=SIDE, **vision),
    }


def make():
    tensors = {}
    for name, model in models().items():
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if value.is_floating_point():
                    value.copy_(torch.from_numpy(initial(f"{name}/{key}", value.shape, SEED)))
        x = torch.from_numpy(values((BATCH, 3, SIDE, SIDE), SEED, f"{name}/x"))
        g = torch.from_numpy(values((BATCH, CLASSES), SEED, f"{name}/g"))
        with torch.no_grad():
            tensors[f"{name}/logits_eval"] = model.eval()(x)
        y = model.train()(x)
        (y * g).sum().backward()
        tensors[f"{name}/logits"] = y
        for key, p in model.named_parameters():
            tensors[f"{name}/grad.{key}"] = summary(p.grad)
        for key, b in model.named_buffers():
            if b.is_floating_point():
                tensors[f"{name}/after.{key}"] = summary(b)
    return tensors
