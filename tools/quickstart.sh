#!/usr/bin/env bash
# Installs jllm into .venv and runs its main job on real input: about 6 minutes on 2 CPU cores.
#
#   tools/quickstart.sh [--model DIR] [--minutes N] [--steps N] [--out DIR]
#
#   --model DIR    train this Hugging Face model instead of SmolLM2-135M-Instruct
#   --minutes N    as many training steps as slow machines of 2 cores do in so many minutes, all
#                  else included (default 10: 16 steps)
#   --steps N      the number of training steps, instead of --minutes
#   --out DIR      where model, data and checkpoints go (default quickstart_out)
#
# It needs Python 3.11 with venv, and pip's access to the packages of third_party/python.
# PYTHON=/path/to/python3.11 names another interpreter. Run it again at any time: what is already
# there (.venv, model) is kept, the rest is made anew.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-python3.11}
VENV=$ROOT/.venv
LOCKS=$ROOT/third_party/python
MODEL=
OUT=$ROOT/quickstart_out
MINUTES=10
STEPS=

fail() {
    echo "error: $*" >&2
    exit 2
}

whole_number() { # FLAG VALUE
    [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 wants a whole number of at least 1, found '$2'"
}

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

while (($#)); do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --model | --minutes | --steps | --out) (($# > 1)) || fail "$1 wants a value" ;;
        *) fail "unknown argument '$1' (see --help)" ;;
    esac
    case $1 in
        --model) [[ -f $2/config.json ]] || fail "--model $2: no config.json there"
            MODEL=$(cd "$2" && pwd) ;;
        --minutes) whole_number "$1" "$2"; MINUTES=$2 ;;
        --steps) whole_number "$1" "$2"; STEPS=$2 ;;
        --out) OUT=$(realpath -m "$2") ;;
    esac
    shift 2
done

# On 2 slow cores a step (4 rows of 512 tokens) takes at most 20 s, and all else 270 s.
STEPS=${STEPS:-$((MINUTES > 5 ? (MINUTES * 60 - 270) / 20 : 2))}

# ---- what is printed --------------------------------------------------------------------------

PHASES=("environment" "model" "data" "token ids" "training" "answers")
PHASE=-1
TIMES=()

end_phase() {
    ((PHASE < 0)) || TIMES+=($((SECONDS - STARTED)))
}

phase() { # TITLE
    end_phase
    PHASE=$((PHASE + 1))
    STARTED=$SECONDS
    printf '\n[%d/%d] %s: %s\n' $((PHASE + 1)) ${#PHASES[@]} "${PHASES[PHASE]}" "$1"
}

run() {
    printf '$ %s\n' "$*"
    "$@"
}

logged() { # runs a command into the log; a terminal sees its newest line
    if [[ -t 1 ]]; then
        "$@" 2>&1 | tee -a "$LOG" | while IFS= read -r line; do
            printf '\r\033[K  %.70s' "$line"
        done && printf '\r\033[K'
    else
        "$@" >>"$LOG" 2>&1
    fi
}

stopped() { # EXIT_CODE
    (($1 == 0 || PHASE < 0)) && return
    ((PHASE > 0)) || tail -n 5 "$LOG" >&2
    printf '\nquickstart stopped in phase %d, %s.' $((PHASE + 1)) "${PHASES[PHASE]}" >&2
    printf ' The log of the installation: %s\n' "$LOG" >&2
}
trap 'stopped $?' EXIT

# ---- the phases -------------------------------------------------------------------------------

has_gpu() {
    command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'
}

checksum() { # FILES: of their names and contents
    find "$@" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum
}

pip_install() {
    logged "$VENV/bin/python" -m pip install --no-input --disable-pip-version-check --no-deps \
        --no-compile "$@"
}

install_torch() { # LOCK
    sed -n '/^torch==/,/[^\\]$/p' "$1" >"$VENV/torch_lock.txt"
    pip_install --require-hashes -r "$VENV/torch_lock.txt"
}

install_dependencies() {
    local lock=$LOCKS/cpu_lock.txt
    echo "installing hash-locked packages, torch first; this takes one or two minutes"
    if has_gpu; then
        lock=$LOCKS/cuda_lock.txt
        install_torch "$lock"
    elif ! install_torch "$lock"; then
        echo "pip finds no CPU build of torch: taking the default one, 2 GB larger (to have the other,"
        echo "name PyTorch's index of CPU wheels in PIP_EXTRA_INDEX_URL and run this again)"
        lock=$LOCKS/cuda_lock.txt
        install_torch "$lock"
    fi
    pip_install --require-hashes -r "$lock"
    pip_install --require-hashes -r "$LOCKS/build_lock.txt"
}

unchanged() { # NAME FILES: whether the stamp of that name was made from these very files
    [[ $(checksum "${@:2}") == "$(cat "$VENV/$1.stamp" 2>/dev/null)" ]]
}

stamp() { # NAME FILES
    checksum "${@:2}" >"$VENV/$1.stamp"
}

make_environment() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
        fail "$PYTHON is not Python 3.11; install python3.11, or name it with PYTHON=/path/to/it"
    if [[ ! -x $VENV/bin/pip ]]; then
        "$PYTHON" -m venv "$VENV" || fail "no venv in $PYTHON (Debian: apt-get install python3-venv)"
    fi
    if ! unchanged dependencies "$LOCKS"/*_lock.txt; then
        install_dependencies
        stamp dependencies "$LOCKS"/*_lock.txt
    fi
    if ! unchanged packages "$ROOT"/packages/*/{src,pyproject.toml}; then
        echo "installing jllm-data, jllm-models and jllm-parallel"
        pip_install --no-build-isolation --force-reinstall \
            "$ROOT/packages/jllm-data" "$ROOT/packages/jllm-models" "$ROOT/packages/jllm-parallel"
        stamp packages "$ROOT"/packages/*/{src,pyproject.toml}
    fi
}

convert() { # INPUT OUTPUT FLAGS
    run python -m jllm.raw2ids --tokenizer "$MODEL" -i "$1" -o "$2" -C "${@:3}"
}

train() {
    local stages=2
    if has_gpu && (($(nvidia-smi -L | grep -c '^GPU') < 2)); then
        stages=1
    fi
    rm -rf "$OUT/checkpoint"
    OMP_NUM_THREADS=$(($(nproc) > 1 ? $(nproc) / 2 : 1)) \
        run torchrun --nproc_per_node $stages -m jllm.train_pipe \
        --model "$MODEL" \
        --train_data "$OUT/ids/train" \
        --eval_data "$OUT/ids/eval" \
        --pipe_parallel_size $stages \
        --micro_batch_size 1 \
        --global_batch_size 4 \
        --max_steps "$STEPS" \
        --learning_rate 1e-4 \
        --num_warmup_steps 2 \
        --only_ckpt_model \
        --checkpoint "$OUT/checkpoint"
}

mark="$OUT/made_by_quickstart"
[[ ! -e $OUT || -e $mark || -z $(ls -A "$OUT") ]] ||
    fail "--out $OUT: exists and was not made by this script; name another folder"
mkdir -p "$OUT"
touch "$mark"
LOG=$OUT/install.log
: >"$LOG"
cd "$ROOT"
OUT=${OUT#"$ROOT/"} # shorter to read
export PATH="$VENV/bin:$PATH" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=true

phase "Python packages in .venv, their hashes checked"
make_environment

if [[ -z $MODEL ]]; then
    MODEL=$OUT/model
    phase "SmolLM2-135M-Instruct, a real pretrained model, as a Hugging Face directory"
    run python tools/quickstart/prepare_model.py --out "$MODEL"
else
    phase "$MODEL"
fi

phase "questions and answers, and plain text, from the documentation of Python's own library"
run python tools/quickstart/prepare_data.py --out "$OUT/data"

phase "the data as token ids in parquet files, packed"
convert "$OUT/data/train.jsonl" "$OUT/ids/train" --max_len 513
convert "$OUT/data/eval.jsonl" "$OUT/ids/eval" --max_len 513
convert "$OUT/data/text.txt" "$OUT/ids/text" --max_len 513 --type pretrain --stack

phase "$STEPS steps; the held-out loss is taken before and after"
train
run python tools/quickstart/report.py "$OUT/checkpoint/metrics.jsonl" --svg "$OUT/loss.svg"

phase "Transformers opens the model before and the checkpoint after, and asks both"
run python tools/quickstart/ask.py "$MODEL" "$OUT/checkpoint/$STEPS" --chats "$OUT/data/eval.jsonl"
end_phase

printf '\nDone in %d:%02d minutes:' $((SECONDS / 60)) $((SECONDS % 60))
for i in "${!PHASES[@]}"; do
    printf ' %s %d s%s' "${PHASES[i]}" "${TIMES[i]}" "$([[ $i -lt 5 ]] && echo ,)"
done
cat <<END


What is where
  $OUT/checkpoint/$STEPS    the trained model, an ordinary Hugging Face directory
  $OUT/checkpoint/metrics.jsonl    a line for each step; $OUT/loss.svg is drawn from it
  $OUT/ids    the data as token ids; ids/text is plain text, for pre-training

What next
  source .venv/bin/activate
  python -m jllm.raw2ids --help    convert chats or text of your own
  python -m jllm.train_pipe --help    train on them
  tools/test.sh    run every test
  docs/architecture.md    how it works, and where to look
END
