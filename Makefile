# SPDX-License-Identifier: GPL-2.0
# One door to everything. kbuild reads Kbuild and not this file.

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
PREFIX ?= /usr/local
SYSTEMD_UNITS ?= $(PREFIX)/lib/systemd/system

BUILD := $(CURDIR)/build

CFLAGS ?= -O2 -g
all_cflags := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror $(CFLAGS) \
	-I$(CURDIR)/uapi -I$(CURDIR)

.PHONY: all module kunit pahole tool selftests benches check demo bench install clean help

all: module tool

help:
	@echo 'make            the module for the running kernel and the tool, in build/'
	@echo 'make module     the module only; KVER=RELEASE or KDIR=DIRECTORY for another kernel'
	@echo 'make kunit      the module with its KUnit suites, for a kernel with KUnit'
	@echo 'make tool       the tool only'
	@echo 'make selftests  the programs of selftests/, to be run in the lab or on a KVM host'
	@echo 'make check      all tests, in the lab, on each supported kernel; T=GROUP for one group'
	@echo 'make demo       boots the lab host and shows the tool and the scheduler at work'
	@echo 'make bench      what the module costs and what the scheduler brings, in the lab'
	@echo 'make install    module, tool, manual pages and systemd unit of this host; DESTDIR, PREFIX'
	@echo 'make clean      removes build/ (the lab stays in the cache)'

# kbuild writes beside the sources (that MO= names another place is new in 6.13), so each build has a
# tree of links to them.
link_sources = mkdir -p $(1) && cp -rsf $(addprefix $(CURDIR)/,Kbuild kmod sched_ext uapi version.h) $(1)/

module: pahole
	@$(call link_sources,$(BUILD)/$(KVER))
	$(MAKE) -C $(KDIR) M=$(BUILD)/$(KVER) modules

# In a directory of its own, so that nobody installs it. kmod/.kunitconfig names what the kernel must
# have, and the option that adds the suites to the module.
kunit_config := kmod/.kunitconfig
kunit_option := CONFIG_KVMGANG_KUNIT_TEST=y

kunit: pahole
	@missing=$$(grep -v $(kunit_option) $(kunit_config) | grep -vxFf $(KDIR)/.config); \
	if [ -n "$$missing" ]; then \
		echo "the kernel in $(KDIR) was built without" $$missing >&2; \
		exit 1; \
	fi
	@$(call link_sources,$(BUILD)/$(KVER)/kunit)
	$(MAKE) -C $(KDIR) M=$(BUILD)/$(KVER)/kunit $(kunit_option) modules

# The BTF of a module is made by this host's pahole against that of the kernel. Of another version
# it may describe the kernel's structs differently.
pahole:
	@wants=$$(sed -n 's/^CONFIG_PAHOLE_VERSION=//p' $(KDIR)/.config 2>/dev/null); \
	has=$$(pahole --numeric_version 2>/dev/null || echo 0); \
	if [ -n "$$wants" ] && [ "$$has" != "$$wants" ]; then \
		echo "warning: pahole is version $$has and the kernel was built with $$wants:" \
			"accounting will work, but the BPF verifier may refuse the module's kfuncs" >&2; \
	fi

tool: $(BUILD)/kvmgang

tool_sources := $(wildcard userspace/*.c)
tool_objects := $(tool_sources:userspace/%.c=$(BUILD)/userspace/%.o)

$(BUILD)/kvmgang: $(tool_objects)
	$(CC) $(all_cflags) $(LDFLAGS) -o $@ $^ -ljansson -lbpf

$(BUILD)/userspace/%.o: userspace/%.c
	@mkdir -p $(@D)
	$(CC) $(all_cflags) -MMD -MP -c -o $@ $<

tests := $(patsubst selftests/%.c,$(BUILD)/selftests/%,$(wildcard selftests/test_*.c))
test_library := $(patsubst selftests/%,$(BUILD)/selftests/%.o, \
	$(basename $(filter-out selftests/test_% %.bpf.c,$(wildcard selftests/*.c selftests/*.S))))

selftests: $(tests)

$(tests): $(BUILD)/selftests/%: $(BUILD)/selftests/%.o $(test_library)
	$(CC) $(all_cflags) $(LDFLAGS) -pthread -o $@ $^ $(LDLIBS)

$(BUILD)/selftests/%.o: selftests/%.c
	@mkdir -p $(@D)
	$(CC) $(all_cflags) -pthread -MMD -MP -c -o $@ $<

$(BUILD)/selftests/%.o: selftests/%.S
	@mkdir -p $(@D)
	$(CC) -g -c -o $@ $<

# A BPF program and the header by which its loader knows it. Any kernel's types will do that has
# sched_ext: libbpf fits the program to the kernel that runs.
CLANG ?= $(shell command -v clang || command -v clang-19)
kernel_types = $(firstword $(wildcard $(KDIR)/vmlinux) \
	$(lastword $(sort $(wildcard /lib/modules/*/build/vmlinux))) /sys/kernel/btf/vmlinux)

$(BUILD)/vmlinux.h:
	@mkdir -p $(@D)
	bpftool btf dump file $(kernel_types) format c >$@.partial
	mv $@.partial $@

bpf_objects := $(patsubst %.c,$(BUILD)/%.o,$(wildcard sched_ext/*.bpf.c selftests/*.bpf.c))

# A static rule, as selftests/%.o would take them for the host's compiler.
$(bpf_objects): $(BUILD)/%.bpf.o: %.bpf.c $(BUILD)/vmlinux.h
	@mkdir -p $(@D)
	$(CLANG) --target=bpf -mcpu=v3 -MMD -MP -O2 -g -Wall -Werror \
		-fms-extensions -Wno-microsoft-anon-tag -Wno-missing-declarations -I$(BUILD) -I$(CURDIR) -c -o $@ $<

.SECONDARY: $(bpf_objects)
# What is generated is not ours to be checked.
$(BUILD)/%.skel.h: $(BUILD)/%.bpf.o
	echo '/* NOLINTBEGIN */' >$@.partial
	bpftool gen skeleton $< name $(notdir $*) >>$@.partial
	echo '/* NOLINTEND */' >>$@.partial
	mv $@.partial $@

$(BUILD)/userspace/run.o: $(BUILD)/sched_ext/scx_kvmgang.skel.h
$(BUILD)/userspace/run.o: all_cflags += -I$(BUILD)/sched_ext

hold_users := $(BUILD)/selftests/test_hold $(BUILD)/selftests/test_run
$(hold_users:=.o): $(BUILD)/selftests/hold.skel.h
$(hold_users:=.o): all_cflags += -I$(BUILD)/selftests
checker_users := $(addprefix $(BUILD)/selftests/test_,isolate costart)
$(BUILD)/selftests/test_isolate.o: $(BUILD)/selftests/beside.skel.h
$(BUILD)/selftests/test_costart.o: $(BUILD)/selftests/costart.skel.h
$(checker_users:=.o): all_cflags += -I$(BUILD)/selftests
$(hold_users) $(checker_users) $(BUILD)/selftests/test_verifier: LDLIBS += -lbpf

benches := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))

benches: $(benches)

$(benches): $(BUILD)/bench/%: bench/%.c $(test_library)
	@mkdir -p $(@D)
	$(CC) $(all_cflags) $(LDFLAGS) -pthread -o $@ $^

# Static, as they run where there is no libc.
build/qemu-check build/demo-guest: build/%: lab/%.c
	@mkdir -p $(@D)
	$(CC) $(all_cflags) -static -pthread -o $@ $<

-include $(wildcard $(BUILD)/userspace/*.d $(BUILD)/selftests/*.d $(BUILD)/sched_ext/*.d)

check:
	lab/check.sh $(T)

# Debian's kernels are enough for these two, and the lab's own take long to build.
demo:
	lab/lab setup 7.2
	lab/lab build
	lab/lab build build/demo-guest
	lab/lab run --nodes 1 --cores 4 -- lab/demo.sh

bench:
	lab/lab setup 7.2
	lab/lab build
	lab/lab build benches
	bench/run.sh

$(BUILD)/kvmgang.service: userspace/kvmgang.service.in
	@mkdir -p $(@D)
	sed 's|@PREFIX@|$(PREFIX)|' $< >$@.partial
	mv $@.partial $@

install: all $(BUILD)/kvmgang.service
	$(MAKE) -C $(KDIR) M=$(BUILD)/$(KVER) modules_install
	install -D -m 755 $(BUILD)/kvmgang $(DESTDIR)$(PREFIX)/bin/kvmgang
	for page in docs/man/*.8; do \
		install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man8/$${page##*/} || exit; \
	done
	install -D -m 644 $(BUILD)/kvmgang.service $(DESTDIR)$(SYSTEMD_UNITS)/kvmgang.service

clean:
	rm -rf $(BUILD)
