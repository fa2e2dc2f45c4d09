#!/usr/bin/env bash
# Sketches, and INSTANT made better, against vanilla and INSTANT of the paper (docs/beyond.md). Each part makes one
# table, OUT/PART/compare.md, or a picture of gradients. Stopped, the same command goes on.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: examples/beyond.sh PART [--out DIR] [options of slimgrad compare]

  images  vit-micro on the images that ship with slimgrad, from nothing, five epochs, three seeds
  mrpc    MiniLM on MRPC, the whole model, five epochs, three seeds; needs --data-dir and --from, a BERT of
          Hugging Face
  cifar   vit-tiny on CIFAR-10, from nothing, five epochs; needs --data-dir, the directory of its binary files

  --out   where the runs go (default: runs/beyond)

Other options come after those of the part and replace them, for example: --seeds 1 --threads 2
TEXT
}

. "$(dirname "${BASH_SOURCE[0]}")/study.sh"
study_begin runs/beyond "$@"

case $part in
    images)
        methods=(vanilla instant:oversample=5 instant:oversample=5:calibrate={train,stream}
                 instant:oversample=5:weight-rows=true instant:oversample=5:complement=4 instant:budget={0.25,0.5}
                 sketch:rank={2,4,8,12}:keep-x=8 sketch:rank=4:keep-x=8:power=0 sketch:rank={4,8}:keep-x=4
                 sketch:tolerance={0.02,0.05,0.1}:keep-x=8 sketch:rank=8:complement=4:keep-x=8)
        study_compare --methods "$(joined "${methods[@]}")" --seeds 3 --epochs 5 --batch 64 --side token --threads 1
        ;;
    mrpc)
        study_needs --data-dir --from
        methods=(vanilla instant:oversample={7,15}
                 instant:{oversample=7,budget=0.25}:calibrate=stream:weight-rows=true:skip-padding=true
                 sketch:rank={4,6,8,12}:keep-x=8 sketch:rank={8,12}:keep-x=4
                 sketch:tolerance={0.02,0.05}:keep-x=8 sketch:rank=8:complement=4:keep-x=8)
        study_compare --data mrpc --methods "$(joined "${methods[@]}")" --seeds 3 --epochs 5 --batch 32 --schedule linear \
            --warmup 35 --lr 1e-4 --weight-decay 0.01 --max-length 80 --side token --calibrate-every 50 \
            --calibrate-split 4 --threads 1
        ;;
    cifar)
        study_needs --data-dir
        methods=(vanilla instant:oversample=5 sketch:rank={4,8,12}:keep-x=8 sketch:tolerance=0.05:keep-x=8)
        study_compare --data cifar10 --model vit-tiny --methods "$(joined "${methods[@]}")" --epochs 5 --batch 128 \
            --side token --lr 1e-3 --weight-decay 0.05 --warmup 100 --augment --threads 1
        ;;
    *) usage >&2; exit 2 ;;
esac
