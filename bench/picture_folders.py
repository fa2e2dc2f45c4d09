"""Folders of pictures to read: a user's, or noise whose spectrum falls as that of photographs does."""

from pathlib import Path

WIDTH, HEIGHT, PICTURES = 500, 375, 64  # about what ImageNet has


def noise(seed: int):
    """A picture whose amplitudes fall as 1 / frequency, in three channels that are alike."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None, :])
    frequency[0, 0] = 1

    def channel():
        waves = random.standard_normal((2, *frequency.shape))
        field = np.fft.irfft2((waves[0] + 1j * waves[1]) / frequency, s=(HEIGHT, WIDTH))
        return field / field.std()

    shared = channel()
    pixels = np.stack([128 + 45 * (0.9 * shared + 0.4 * channel()) for _ in range(3)], axis=-1)
    return Image.fromarray(pixels.clip(0, 255).round().astype("uint8"))


def folders(given: Path, out: Path, quick: bool) -> list:
    """The folder that was given, or two that are made under `out` unless they are there: jpeg and png."""
    if given:
        return [given]
    made, count = [], 4 if quick else PICTURES
    for name, options in (("jpeg", {"quality": 90}), ("png", {})):
        for part in ("train", "test"):
            for i in range(count if part == "train" else 2):
                file = out / "pictures" / name / part / "ab"[i % 2] / f"{i:03}.{name}"  # two classes
                if not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    noise(i).save(new := file.with_suffix(".new"), name.upper(), **options)
                    new.replace(file)
        made.append(out / "pictures" / name)
    return made
