"""slimgrad's models as a good user of PyTorch writes them, and the low-rank operator of the INSTANT paper
(Sec. 3.3) as a torch.autograd.Function, from its formulas."""

import torch
from torch import nn
from torch.nn import functional as F


def compress(p: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """P x of each sample: (R,L)·(B,L,C) -> (B,R,C)."""
    return torch.einsum("rl,blc->brc", p, x)


def low_rank_backward(gy, w, x_hat, p, q):
    """g_x = Qᵀ((Q g) W) and g_w = Σ_b (P g_b)ᵀ x̂_b."""
    gx = torch.einsum("rl,brc->blc", q, torch.einsum("bro,oc->brc", compress(q, gy), w))
    gw = torch.einsum("bro,brc->oc", compress(p, gy), x_hat)
    return gx, gw


class LowRankFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, p, q):
        ctx.save_for_backward(compress(p, x), w, p, q)
        return F.linear(x, w, b)

    @staticmethod
    def backward(ctx, gy):
        x_hat, w, p, q = ctx.saved_tensors
        gx, gw = low_rank_backward(gy, w, x_hat, p, q)
        return gx, gw, gy.sum((0, 1)), None, None


class LowRankLinear(nn.Linear):
    def __init__(self, inputs: int, outputs: int, p: torch.Tensor, q: torch.Tensor):
        super().__init__(inputs, outputs)
        self.p, self.q = p, q

    def forward(self, x):
        return LowRankFunction.apply(x, self.weight, self.bias, self.p, self.q)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, linear, path: str):
        super().__init__()
        self.heads = heads
        self.qkv = linear(path + ".qkv", width, 3 * width)
        self.proj = linear(path + ".proj", width, width)

    def forward(self, x):
        b, l, c = x.shape
        q, k, v = self.qkv(x).view(b, l, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, l, c))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, linear, path: str, epsilon: float = 1e-5):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.attention = Attention(width, heads, linear, path + ".attention")
        self.norm2 = nn.LayerNorm(width, epsilon)
        self.fc1 = linear(path + ".fc1", width, 4 * width)
        self.fc2 = linear(path + ".fc2", 4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Blocks(nn.Sequential):
    """Encoder blocks; layers with projectors "P.PATH" and "Q.PATH" are low-rank."""

    def __init__(self, case: dict, projectors: dict):
        def linear(path: str, inputs: int, outputs: int) -> nn.Linear:
            if "P." + path not in projectors:
                return nn.Linear(inputs, outputs)
            return LowRankLinear(inputs, outputs, projectors["P." + path], projectors["Q." + path])

        super().__init__(*(Block(case["width"], case["heads"], linear, str(i)) for i in range(case["blocks"])))


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.pad = (outputs - inputs) // 2  # channels of zeros on either side: He et al.'s option A
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2 if self.pad else 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        if self.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x, inplace=True)


class ResNet20(nn.Module):
    def __init__(self, classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(BasicBlock(16, 32), BasicBlock(32, 32), BasicBlock(32, 32))
        self.layer3 = nn.Sequential(BasicBlock(32, 64), BasicBlock(64, 64), BasicBlock(64, 64))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class VitB32(nn.Module):
    """Of images of 224 pixels; the class token alone is read."""

    def __init__(self, classes: int = 10):
        super().__init__()
        self.patch_embed = nn.Linear(3 * 32 * 32, 768)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 768))
        self.positions = nn.Parameter(torch.zeros(1, 50, 768))
        self.blocks = nn.Sequential(*(Block(768, 12, lambda _, i, o: nn.Linear(i, o), str(n), 1e-6) for n in range(12)))
        self.norm = nn.LayerNorm(768, 1e-6)
        self.head = nn.Linear(768, classes)

    def forward(self, x):
        # A patch is a row of the weight: the convolution whose stride is its kernel.
        patches = F.conv2d(x, self.patch_embed.weight.view(768, 3, 32, 32), self.patch_embed.bias, 32)
        x = torch.cat((self.class_token.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)), 1)
        return self.head(self.norm(self.blocks(x + self.positions)[:, 0]))


def image_model(name: str) -> nn.Module:
    if name == "resnet50":
        from torchvision.models import resnet50

        return resnet50(num_classes=10)
    return {"resnet20": ResNet20, "vit-b32": VitB32}[name]()
