# shellcheck shell=bash
# kvmgang run in the background, for scripts inside the lab host that compare it with EEVDF.

# Waits until it schedules: the verifier takes seconds of an emulated CPU, more on a busy host.
attach() {
	scheduler_log=$(mktemp)
	build/kvmgang run >"$scheduler_log" 2>&1 &
	scheduler=$!
	until grep -q attached "$scheduler_log"; do
		kill -0 "$scheduler" || { cat "$scheduler_log" >&2; exit 1; }
		sleep 0.2
	done
}

# A scheduler that has left in the meantime was not what was measured, even if it came back.
detach() {
	kill -TERM "$scheduler"
	if ! wait "$scheduler" || grep -q left "$scheduler_log"; then
		cat "$scheduler_log" >&2
		exit 1
	fi
	rm "$scheduler_log"
}
