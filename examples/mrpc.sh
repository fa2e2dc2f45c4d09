#!/usr/bin/env bash
# Fine-tuning on MRPC as in the paper (section 4.1): the whole model and its last block; vanilla, each slot
# alone, and INSTANT with p = 0, 7, 15 and 25 directions more than ε = 0.95 asks for; three seeds of each. 42 runs
# make one table, OUT/compare.md, which grows while they go on. Stopped, the same command goes on.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: examples/mrpc.sh --data-dir DIR --from DIR [--out DIR] [options of slimgrad compare]

  --data-dir  the files of MRPC; build/slimgrad data get mrpc --data-dir . puts them into MRPC/
  --from      a BERT of Hugging Face: config.json, model.safetensors, vocab.txt or tokenizer.json
  --out       where the runs go (default: runs/mrpc); about 360 MB for each run of a model like MiniLM

Other options come after those below and replace them, for example: --seeds 1 --threads 2
TEXT
}
case " $* " in *" --data-dir"[\ =]*) ;; *) usage >&2; exit 2 ;; esac
case " $* " in *" --from"[\ =]*) ;; *) usage >&2; exit 2 ;; esac

program=$(dirname "${BASH_SOURCE[0]}")/../build/slimgrad
[ -x "$program" ] || { echo "first: ./run build" >&2; exit 2; }

methods=()
for blocks in all last:1; do
    # The last block alone learns from fewer parameters, at a higher rate, and is done sooner.
    rate=1e-4 epochs=5
    [ $blocks = all ] || rate=5e-4 epochs=3
    for method in vanilla instant:oversample={0,7,15,25} compress-x:oversample=7 compress-gy:oversample=7; do
        methods+=("$method:train-blocks=$blocks:lr=$rate:epochs=$epochs")
    done
done

# 59 of the 3,668 training pairs are longer than 80 tokens of BERT's and are cut.
given() { [[ " $* " == *" $option"[\ =]* ]]; }
arguments=(--resume)
defaults=(--data mrpc --methods "$(IFS=,; echo "${methods[*]}")" --seeds 3 --batch 32
          --schedule linear --warmup 35 --weight-decay 0.01 --max-length 80 --side token --epsilon 0.95
          --calibrate-every 50 --calibrate-batches 5 --calibrate-split 4 --threads 1 --out runs/mrpc)
for ((i = 0; i < ${#defaults[@]}; i += 2)); do
    option=${defaults[i]}
    given "$@" || arguments+=("$option" "${defaults[i + 1]}")
done
exec "$program" compare "${arguments[@]}" "$@"
