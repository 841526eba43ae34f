# The pipeline of pipeline.yaml as people write it for make: a target is a step's output folder, or its last file.
PYTHON = python3
STEP = $(PYTHON) -I -S step.py
LR = 0.3 0.1 0.03 0.01
TRAINED = $(LR:%=output/train/lr%)

all: output/best/results.csv
preprocess: output/preprocessed
train: $(TRAINED:%=%/metrics.json)
.PHONY: all preprocess train
.DELETE_ON_ERROR:

output/preprocessed: raw.txt
	$(STEP) preprocess raw.txt $@

output/train/lr%/metrics.json: output/preprocessed settings/%.txt
	$(STEP) train output/preprocessed settings/$*.txt output/train/lr$*

output/best/results.csv: $(TRAINED:%=%/metrics.json)
	$(PYTHON) -m parallel_train.results --metric accuracy --model model.txt --out output/best $(TRAINED)
