#!/bin/sh
# All that only a machine with a GPU can tell, in at most eight minutes: tests, parity with the CPU,
# latency and throughput by batch and engine, a profile; with "training" instead its rate, in at
# most six. Writes to the folder OUT (default build/gpu). Without a GPU it goes as far as a CPU can,
# to try the script itself.
#   benchmark/gpu.sh [OUT] [engines|training]
set -u
out=${1:-build/gpu} part=${2:-engines}
case $part in
    engines | training) ;;
    *) echo "usage: benchmark/gpu.sh [OUT] [engines|training], not $part" >&2; exit 2 ;;
esac
mkdir -p "$out"
python=${PYTHON:-python3}
"$python" -c "import torch" || { echo "$python has no PyTorch: run this in make shell" >&2; exit 2; }
failed=0
step() { # NAME SECONDS COMMAND...
    name=$1 limit=$2
    shift 2
    echo "== $name"
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || { failed=1; echo "failed, see $out/$name.log"; }
    tail -n 12 "$out/$name.log"
}

device=cuda batches="--batch 1 --batch 8 --batch 32" repeats=100
count=64 sizes="16 32 64" seconds=4
engines="--engine eager --engine cudagraph --engine cudagraph-bf16"
if ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    if nvidia-smi -L 2>/dev/null | grep ^GPU >/dev/null; then
        echo "there is a GPU, but this PyTorch does not see it:" >&2
        "$python" -c "import torch; print(torch.__version__); torch.cuda.init()"
        exit 2
    fi
    echo "no CUDA device: the CPU stands in, figures mean nothing"
    device=cpu batches="--batch 1 --batch 2" repeats=3 engines="--engine eager"
    count=4 sizes=2 seconds=1
fi
if [ "$part" = engines ]; then
    step tests 120 "$python" -m pytest -q -p no:cacheprovider -m gpu \
        test/detection/test_gpu.py test/benchmark/test_training_rate.py
    # shellcheck disable=SC2086  # several options each
    step speed 180 "$python" -m lane_sad_ros benchmark --device "$device" $engines $batches \
        --repeats "$repeats" --json "$out/speed.json" --plot "$out/speed.png"
    step lanes 90 "$python" -m benchmark.same_lanes --device "$device" $engines \
        lane_sad_ros/detection/engines/road.jpg --json "$out/lanes.json"
    step profile 90 "$python" -m benchmark.profile_stages --device "$device" \
        --json "$out/profile.json"
    exit $failed
fi
step scenes 60 "$python" -m training synthesize "$out/scenes" --count "$count" --seed 1
rate() { # NAME COMPILE SIZES
    # shellcheck disable=SC2086  # several sizes
    step "training-$1" 150 "$python" -m benchmark.training_rate \
        training/configs/tusimple_enet_sad.yaml "data=[{path: $out/scenes/labels.json}]" \
        "input_size=[512, 224]" device=$device cache=device precision=bfloat16 compile=$2 \
        --batch $3 --seconds "$seconds" --json "$out/training-$1.json"
}
rate eager false "$sizes"
rate compiled true "${sizes##* }"
exit $failed
