#!/usr/bin/env bash
# Every method of the table under one seed and one meter (docs/rivals.md): small vision transformers from nothing,
# and a pretrained BERT on MRPC. Each part makes one table, OUT/PART/compare.md. Stopped, the same command goes on.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: examples/rivals.sh PART [--out DIR] [options of slimgrad compare]

  images   vit-micro on the images that ship with slimgrad, three seeds, ranks for equal saved bytes and for half of
           vanilla's backward FLOPs
  cifar    vit-tiny on CIFAR-10, two epochs, one seed; needs --data-dir, the directory of its binary files
  mrpc     MiniLM on MRPC, three epochs, three seeds, the whole model and its last block; needs --data-dir and
           --from, a BERT of Hugging Face
  padding  MRPC at 512 tokens as the paper pads it, and at the length of a batch: a short run of each; needs both too

  --out    where the runs go (default: runs/rivals)

Other options come after those of the part and replace them, for example: --seeds 1 --threads 2
TEXT
}

. "$(dirname "${BASH_SOURCE[0]}")/study.sh"
study_begin runs/rivals "$@"

# Options of each method, for tokens that are an image.
at_bytes=(vanilla compress-x:rank-x=8 instant:rank-x=8:rank-g=8 random:rank=8 espace:rank=8 compact:ratio=24
          lbp-wht:order=3 gradient-filter:patch=3 galore:rank=8 lora:rank=8 lora+instant:rank=8:rank-x=8:rank-g=8)
at_flops=(compress-x:rank-x=2 instant:rank-x=16:rank-g=16 random:rank=16 espace:rank=16 compact:ratio=6
          lbp-wht:order=5 gradient-filter:patch=2 lora+instant:rank=8:rank-x=16:rank-g=16)

case $part in
    images)
        options=(--methods "$(joined "${at_bytes[@]}" "${at_flops[@]}")" --seeds 3 --epochs 5 --batch 64
                 --side token --threads 1)
        ;;
    cifar)
        options=(--data cifar10 --model vit-tiny --methods "$(joined "${at_bytes[@]}")" --epochs 2 --batch 128
                 --side token --lr 1e-3 --weight-decay 0.05 --warmup 100 --augment --threads 1)
        ;;
    mrpc)
        # Texts are no image: 80 tokens as 8 rows of 10.
        methods=()
        for blocks in all last:1; do
            rate=1e-4
            [ $blocks = all ] || rate=5e-4
            for method in vanilla instant:oversample={7,15} random:rank=16 espace:rank=20 compact:rank=8:scale=2 \
                          lbp-wht:order=4:grid=8x10 gradient-filter:patch=2:grid=8x10 galore:rank=8 lora:rank=8 \
                          lora+instant:rank=8:oversample=7; do
                methods+=("$method:train-blocks=$blocks:lr=$rate")
            done
        done
        options=(--data mrpc --methods "$(joined "${methods[@]}")" --seeds 3 --epochs 3 --batch 32 --schedule linear
                 --warmup 35 --weight-decay 0.01 --max-length 80 --side token --calibrate-every 50
                 --calibrate-split 4 --threads 1)
        ;;
    padding)
        methods=()
        for length in 512 80; do
            for method in vanilla instant:oversample=7; do methods+=("$method:max-length=$length"); done
        done
        options=(--data mrpc --methods "$(joined "${methods[@]}")" --steps 20 --batch 32 --train-blocks last:1
                 --side token --calibrate-every 50 --calibrate-split 4 --threads 1)
        ;;
    *) usage >&2; exit 2 ;;
esac

case $part in
    images) ;;
    cifar) study_needs --data-dir ;;
    *) study_needs --data-dir --from ;;
esac
study_compare "${options[@]}"
