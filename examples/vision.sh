#!/usr/bin/env bash
# Networks that were trained on ImageNet or CIFAR-10, fine-tuned on other pictures by every method (docs/vision.md).
# Each part makes one table, OUT/PART/compare.md. Stopped, the same command goes on.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: examples/vision.sh PART [--out DIR] [options of slimgrad compare]

  last      EfficientNet-Lite0 on CIFAR-10 at 128 pixels, 5000 training images, two seeds: its last two stages; needs
            --data-dir, the directory of CIFAR-10's binary files, and --from, the weights (safetensors)
  whole     the same, all of it
  resnet20  ResNet-20 of CIFAR-10 on Fashion-MNIST; needs --from, its weights (safetensors)
  resnet56  ResNet-56, the same
  vit-step      twelve steps of ViT-B/32 at 224 pixels, the last two blocks: seconds and bytes (Table 6 of the paper)
  resnet50-step twelve steps of ResNet-50 at 224 pixels, batch 4: seconds and bytes (Figure 9)

  --out     where the runs go (default: runs/vision)

Other options come after those of the part and replace them, for example: --seeds 1 --threads 2
TEXT
}

. "$(dirname "${BASH_SOURCE[0]}")/study.sh"
study_begin runs/vision "$@"

methods=(vanilla compress-x:oversample=5 compress-gy:oversample=5 instant:oversample={0,5,7} random:rank=8 espace:rank=8
         lbp-wht:order=4 gradient-filter:patch=2 galore:rank=8 sketch:rank=8:keep-x=8 sketch:rank=4:keep-x=4)
finetune=(--recipe instant-vision --methods "$(joined "${methods[@]}")" --seeds 2 --warmup 30 --threads 1)
steps=(--data embedded-images --image-size 224 --steps 12 --limit-test 16 --calibrate-batches 1 --threads 1)

case $part in
    last | whole)
        blocks=all
        [ "$part" = whole ] || blocks=last:4
        options=("${finetune[@]}" --data cifar10 --image-size 128 --model efficientnet-lite0 --limit-train 5000
                 --limit-test 2000 --epochs 4 --train-blocks "$blocks" --calibrate-every 100)
        study_needs --data-dir --from
        ;;
    resnet20 | resnet56)
        options=("${finetune[@]}" --data fashion-mnist --image-size 32 --model "$part" --limit-train 10000
                 --limit-test 2000 --epochs 4 --lr 1e-3)
        study_needs --from
        ;;
    vit-step)
        # The ranks of INSTANT-0 follow from its calibration.
        options=("${steps[@]}" --model vit-b32 --train-blocks last:2 --batch 16
                 --methods vanilla,gradient-filter:patch=7,lbp-wht:order=4,instant:oversample=0,sketch:rank=8)
        ;;
    resnet50-step)
        options=("${steps[@]}" --model resnet50 --batch 4 --methods vanilla,instant:oversample=5,sketch:rank=8)
        ;;
    *) usage >&2; exit 2 ;;
esac
study_compare "${options[@]}"
