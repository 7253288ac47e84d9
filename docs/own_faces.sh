#!/bin/sh
# From a folder of face pictures to a model that is guarded: look, train, export, ask, record.
# Usage: sh docs/own_faces.sh PICTURES WEIGHTS OUT [MODEL [further options of fer-train]]
# PICTURES has a folder per class. WEIGHTS are those to start from, such as a folder of Hugging Face
# with google/vit-base-patch16-224. From the environment: CLASSES names the classes where their
# folders do not, SHARE is the share of each class to select on, TARGETS are the formats to export.
set -eu
pictures=$1 weights=$2 out=$3 model=${4:-vit-base}
shift 3
[ $# -eq 0 ] || shift
share=${SHARE:-0.1}
targets=$(printf -- '--target %s ' ${TARGETS:-onnx openvino-fp32})

mkdir -p "$out"
python -m fer_train data "$pictures" ${CLASSES:+--classes "$CLASSES"} --sheet "$out/sheet.png"
python -m fer_train --data "$pictures" ${CLASSES:+--classes "$CLASSES"} \
    --validation-share "$share" --model "$model" --init "$weights" --out "$out/run" "$@"
# shellcheck disable=SC2086 # each target is an option of its own
python -m fer_export --weights "$out/run/best.safetensors" $targets --out "$out/model" \
    --data "$pictures" ${CLASSES:+--classes "$CLASSES"} --validation-share "$share"
python - "$out/model" "$(find "$pictures" -type f | sort | head -n 1)" <<'PYTHON'
import sys

from fer_edge import Predictor

model, picture = sys.argv[1:]
with Predictor(model) as fer:
    print(fer.info.provider, fer.predict(picture))
PYTHON
python -m pytest --fer-model "$out/model" --fer-baseline "$out/baseline.json" \
    --fer-data "$pictures" ${CLASSES:+--fer-classes "$CLASSES"} \
    --fer-validation-share "$share" --fer-update-baseline \
    -p no:cacheprovider --rootdir "$out" -q "$out"
