# task.sh EFFECTS NAME SECONDS OUTPUT: writes when it began and ended, one file for each attempt
file=$1/$2.$PARALLEL_TRAIN_ATTEMPT.$(hostname)
echo "began $(cut -d' ' -f1 /proc/uptime) $(date +%s)" > "$file"
sleep "$3"
mkdir -p "$4"; echo "$PARALLEL_TRAIN_ATTEMPT" >> "$4/result"
echo "ended $(cut -d' ' -f1 /proc/uptime) $(date +%s)" >> "$file"
