#!/usr/bin/env bash
# What layers keep in few bits, alone and beside low-rank backward (docs/gact.md). Each part makes one table,
# OUT/PART/compare.md. Stopped, the same command goes on.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: examples/gact.sh PART [--out DIR] [options of slimgrad compare]

  images  vit-micro on the images that ship with slimgrad, from nothing, five epochs, three seeds
  mrpc    MiniLM on MRPC, the whole model, three epochs, three seeds; needs --data-dir and --from, a BERT of
          Hugging Face
  cifar   vit-tiny on CIFAR-10, from nothing, two epochs; needs --data-dir, the directory of its binary files
  resnet  resnet20 on CIFAR-10, the same

  --out   where the runs go (default: runs/gact)

Other options come after those of the part and replace them, for example: --seeds 1 --threads 2
TEXT
}

. "$(dirname "${BASH_SOURCE[0]}")/study.sh"
study_begin runs/gact "$@"

cheap=gelu-bits=2:norm-keeps=output
levels=(gact:level={L1,L1.1,L1.2,L2,L2.1})

case $part in
    images)
        methods=(vanilla "${levels[@]}" gact:level=L1:$cheap gact:level=L2:sensitivity=calls
                 gact:bits=4:scales={token,channel} instant:oversample=5 instant+gact:oversample=5
                 sketch:rank=8:keep-x=8 sketch+gact:rank=8:keep-x=8 sketch+gact:rank=8:level={L1,L2}
                 sketch+gact:rank={4,8}:$cheap)
        study_compare --methods "$(joined "${methods[@]}")" --seeds 3 --epochs 5 --batch 64 --side token --threads 1
        ;;
    mrpc)
        study_needs --data-dir --from
        methods=(vanilla gact:level={L1,L1.1,L2} gact:level=L1:$cheap instant:oversample=7 instant+gact:oversample=7
                 sketch:rank=12:keep-x=4 sketch+gact:rank=12 sketch+gact:rank=12:$cheap
                 sketch+gact:rank=12:level=L2:$cheap)
        study_compare --data mrpc --methods "$(joined "${methods[@]}")" --seeds 3 --epochs 3 --batch 32 --schedule linear \
            --warmup 35 --lr 1e-4 --weight-decay 0.01 --max-length 80 --side token --calibrate-every 50 \
            --calibrate-split 4 --threads 1
        ;;
    cifar)
        study_needs --data-dir
        methods=(vanilla gact:level={L1,L1.1,L2} gact:level=L1:$cheap sketch+gact:rank=8:$cheap)
        study_compare --data cifar10 --model vit-tiny --methods "$(joined "${methods[@]}")" --epochs 2 --batch 128 \
            --side token --lr 1e-3 --weight-decay 0.05 --warmup 100 --augment --threads 1
        ;;
    resnet)
        study_needs --data-dir
        study_compare --data cifar10 --model resnet20 --methods "$(joined vanilla gact:level={L1,L1.1,L1.2,L2})" \
            --epochs 2 --batch 128 --lr 1e-3 --weight-decay 0.05 --warmup 100 --augment --threads 1
        ;;
    *) usage >&2; exit 2 ;;
esac
