"""Golden values of every layer: y = f(inputs), and the gradients of inputs and parameters for a
random output gradient. Each case stores, under its name,

    in.<i>            the inputs, floating (indices and labels too, as numbers)
    param.<name>      the parameters                    buffer.<name>   the buffers before the step
    gy, y             output gradient and output        after.<name>    the buffers after it
    grad.in.<i>       gradients of the inputs           grad.param.<name>
"""
import torch
import torch.nn.functional as F
from torch import nn

from stream import integers, values

SEED = 11


def random(name, shape, **kwargs):
    return torch.from_numpy(values(shape, SEED, name, **kwargs))


def indices(name, shape, bound):
    return torch.from_numpy(integers(shape, bound, SEED, name))


class Cases:
    def __init__(self):
        self.tensors = {}

    def add(self, name, f, *inputs):
        """`f` is a module or a function. Inputs are shapes (filled at random) or tensors; integer
        tensors get no gradient."""
        rename = getattr(f, "rename", lambda key, t: {key: t})

        def put(key, t):
            self.tensors[f"{name}/{key}"] = t.detach().double().clone()

        def put_all(prefix, key, t):
            for renamed, part in rename(key, t).items():
                put(prefix + renamed, part)

        xs = []
        for i, x in enumerate(inputs):
            x = random(f"{name}/in.{i}", x) if isinstance(x, tuple) else x
            put(f"in.{i}", x)
            xs.append(x.requires_grad_() if x.is_floating_point() else x)
        named = list(f.named_parameters()) if isinstance(f, nn.Module) else []
        buffers = list(f.named_buffers()) if isinstance(f, nn.Module) else []
        buffers = [(key, b) for key, b in buffers if key != "num_batches_tracked"]
        with torch.no_grad():
            for key, p in named:
                scale = p.ndim == 1 and key.endswith("weight")  # the scale of a normalisation
                p.copy_(random(f"{name}/{key}", tuple(p.shape), centre=float(scale), spread=0.5))
                put_all("param.", key, p)
            for key, b in buffers:
                variance = key.endswith("var")
                b.copy_(random(f"{name}/{key}", tuple(b.shape), centre=float(variance), spread=0.5))
                put(f"buffer.{key}", b)
        y = f(*xs)
        gy = random(f"{name}/gy", tuple(y.shape))
        y.backward(gy)
        put("gy", gy)
        put("y", y)
        for i, x in enumerate(xs):
            if x.requires_grad:
                put(f"grad.in.{i}", x.grad)
        for key, p in named:
            put_all("grad.param.", key, p.grad)
        for key, b in buffers:
            put(f"after.{key}", b)


class SelfAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention on one input, under the names of slimgrad: Q, K and V from one matrix
    (`fused`) or from three."""

    def __init__(self, fused=True, **masks):
        super().__init__(8, 2, batch_first=True)
        self.fused, self.masks = fused, masks

    def forward(self, x):
        return super().forward(x, x, x, need_weights=False, **self.masks)[0]

    def rename(self, key, t):
        kind = "weight" if key.endswith("weight") else "bias"
        if key.startswith("out_proj"):
            return {f"proj.{kind}": t}
        if self.fused:
            return {f"qkv.{kind}": t}
        return {f"{which}.{kind}": part for which, part in zip("qkv", t.chunk(3))}


def attention(c):
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)  # True: may not attend
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    scores = random("scores", (5, 5), spread=2.0)
    for name, options in [("mha", dict(fused=False)),
                          ("mha_fused", dict()),
                          ("mha_causal", dict(attn_mask=causal)),
                          ("mha_padding", dict(key_padding_mask=padding, fused=False)),
                          ("mha_additive", dict(attn_mask=scores))]:
        c.add(name, SelfAttention(**options), (2, 5, 8))
    for name, mask in [("mha_causal", causal), ("mha_padding", padding), ("mha_additive", scores)]:
        c.tensors[f"{name}/mask"] = mask.double()


def linear_and_convolution(c):
    c.add("linear_2d", nn.Linear(6, 5), (4, 6))
    c.add("linear_2d_no_bias", nn.Linear(6, 5, bias=False), (4, 6))
    c.add("linear_3d", nn.Linear(7, 3), (2, 5, 7))
    c.add("linear_3d_no_bias", nn.Linear(7, 3, bias=False), (2, 5, 7))
    c.add("linear_4d", nn.Linear(4, 6), (2, 3, 5, 4))
    for name, args, shape in [
        ("plain", dict(kernel_size=3), (2, 3, 7, 6)),
        ("no_bias", dict(kernel_size=3, bias=False), (2, 3, 7, 6)),
        ("padding", dict(kernel_size=3, padding=1), (2, 3, 6, 5)),
        ("stride", dict(kernel_size=3, stride=2, padding=1), (2, 3, 8, 7)),
        ("dilation", dict(kernel_size=3, dilation=2, padding=2), (2, 3, 7, 8)),
        ("pointwise", dict(kernel_size=1), (2, 3, 5, 4)),
        ("pointwise_stride", dict(kernel_size=1, stride=2), (2, 3, 5, 6)),
        ("patches", dict(kernel_size=4, stride=4), (2, 3, 8, 12)),
        ("rectangular", dict(kernel_size=(2, 5), stride=(3, 1), padding=(1, 2), dilation=(2, 1)),
         (2, 3, 9, 7)),
    ]:
        c.add(f"conv2d_{name}", nn.Conv2d(3, 4, **args), shape)
    c.add("conv2d_groups", nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 6, 5))
    c.add("conv2d_groups_stride", nn.Conv2d(6, 9, (3, 2), stride=2, dilation=(1, 2), groups=3),
          (2, 6, 7, 8))
    c.add("conv2d_depthwise", nn.Conv2d(5, 5, 3, padding=1, groups=5), (2, 5, 6, 7))
    c.add("conv2d_depthwise_two", nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3, bias=False),
          (2, 3, 7, 8))


def normalisation(c):
    for name, make, shape in [("batch_norm1d", nn.BatchNorm1d, (6, 4)),
                              ("batch_norm1d_3d", nn.BatchNorm1d, (3, 4, 5)),
                              ("batch_norm2d", nn.BatchNorm2d, (3, 4, 5, 2))]:
        c.add(name, make(4), shape)
        c.add(f"{name}_eval", make(4).eval(), shape)
    c.add("batch_norm2d_options", nn.BatchNorm2d(3, eps=0.01, momentum=0.3), (2, 3, 4, 4))
    c.add("layer_norm", nn.LayerNorm(9), (2, 4, 9))
    c.add("layer_norm_2d", nn.LayerNorm(16, eps=0.01), (3, 16))


def activations(c):
    shape = (3, 4, 7)
    wide = lambda name: random(name, shape, spread=8.0)
    c.add("relu", nn.ReLU(), shape)
    c.add("relu6", nn.ReLU6(), wide("relu6"))
    c.add("gelu_erf", nn.GELU(), wide("gelu_erf"))
    c.add("gelu_tanh", nn.GELU(approximate="tanh"), wide("gelu_tanh"))
    c.add("silu", nn.SiLU(), wide("silu"))
    c.add("softmax", nn.Softmax(-1), wide("softmax"))


def pooling(c):
    for name, args, shape in [
        ("plain", dict(kernel_size=2), (2, 3, 6, 8)),
        ("ragged", dict(kernel_size=2), (2, 3, 7, 5)),
        ("overlap", dict(kernel_size=3, stride=2), (2, 3, 7, 9)),
        ("padding", dict(kernel_size=3, stride=2, padding=1), (2, 3, 6, 7)),
        ("rectangular", dict(kernel_size=(3, 2), stride=(1, 2), padding=(1, 0)), (2, 3, 5, 6)),
    ]:
        c.add(f"avg_pool2d_{name}", nn.AvgPool2d(**args), shape)
        c.add(f"max_pool2d_{name}", nn.MaxPool2d(**args), shape)
    c.add("avg_pool2d_inside", nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), (2, 3, 4, 5))
    c.add("upsample_bilinear2d", nn.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 4, 5))
    c.add("upsample_bilinear2d_by_3", nn.Upsample(scale_factor=3, mode="bilinear"), (1, 2, 1, 3))
    c.add("same_pad2d", lambda x: F.pad(x, (0, 1, 2, 2)), (2, 3, 7, 6))
    c.add("global_avg_pool2d", lambda x: x.mean((2, 3)), (2, 3, 5, 4))


def embedding_and_losses(c):
    c.add("embedding", nn.Embedding(7, 4), indices("embedding", (3, 5), 7))
    labels = indices("labels", (6,), 5)
    ignored = labels.clone()
    ignored[[1, 4]] = -100
    other = labels.clone()
    other[other == 2] = 3
    other[0] = 2
    logits = lambda name: random(name, (6, 5), spread=4.0)
    for name, target, args in [
        ("cross_entropy", labels, {}),
        ("cross_entropy_smooth", labels, dict(label_smoothing=0.1)),
        ("cross_entropy_ignore", ignored, {}),
        ("cross_entropy_ignore_two", other, dict(ignore_index=2)),
        ("cross_entropy_smooth_ignore", ignored, dict(label_smoothing=0.2)),
    ]:
        c.add(name, lambda x, t, args=args: F.cross_entropy(x, t, **args), logits(name), target)
    c.add("mse", F.mse_loss, (4, 3), (4, 3))


def structural(c):
    positive = lambda name: random(name, (3, 4), centre=1.5)
    two = [((3, 4), (3, 4)), ((2, 3, 4), (3, 1)), ((4,), (2, 3, 4)), ((2, 1, 4), (3, 1))]
    for i, (a, b) in enumerate(two):
        c.add(f"add_{i}", lambda a, b: a + b, a, b)
        c.add(f"sub_{i}", lambda a, b: a - b, a, b)
        c.add(f"mul_{i}", lambda a, b: a * b, a, b)
    c.add("scale", lambda x: 0.75 * x, (3, 4))
    c.add("neg", lambda x: -x, (3, 4))
    c.add("exp", torch.exp, (3, 4))
    c.add("tanh", torch.tanh, random("tanh", (3, 4), spread=2.0))
    c.add("log", torch.log, positive("log"))
    c.add("sqrt", torch.sqrt, positive("sqrt"))
    c.add("pow", lambda x: x**2.5, positive("pow"))
    c.add("reshape", lambda x: x.reshape(4, -1), (2, 3, 4))
    c.add("transpose", lambda x: x.permute(2, 0, 1), (2, 3, 4))
    c.add("slice", lambda x: x[:, 1:4], (2, 5, 3))
    c.add("concat", lambda *x: torch.cat(x, 1), (2, 3, 4), (2, 1, 4), (2, 2, 4))
    c.add("matmul", torch.matmul, (3, 4), (4, 5))
    c.add("matmul_batch", torch.matmul, (2, 3, 4), (2, 4, 5))
    c.add("matmul_shared", torch.matmul, (2, 3, 4), (4, 5))
    c.add("matmul_tn", lambda a, b: a.mT @ b, (2, 4, 3), (2, 4, 5))
    c.add("matmul_nt", lambda a, b: a @ b.mT, (2, 3, 4), (2, 5, 4))
    c.add("matmul_tt", lambda a, b: a.mT @ b.mT, (2, 4, 3), (2, 5, 4))
    c.add("sum", torch.sum, (2, 3, 4))
    c.add("mean", torch.mean, (2, 3, 4))
    c.add("sum_axis", lambda x: x.sum(1), (2, 3, 4))
    c.add("mean_axis", lambda x: x.mean(1), (2, 3, 4))
    c.add("flatten", nn.Flatten(), (2, 3, 4))


def make():
    cases = Cases()
    for part in (linear_and_convolution, normalisation, activations, attention, pooling,
                 embedding_and_losses, structural):
        part(cases)
    return cases.tensors
