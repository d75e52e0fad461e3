# appc-vm: see README.md. `make V=1` shows the commands.
#
#   make            build/appc-vm and build/guest-init (for a developer; needs `make deps` once)
#   make deps       install what is missing, through apt
#   make kernel     the guest kernel, from Debian's linux-source (cached outside the checkout)
#   make demo       deps, kernel, images and a real pod, from nothing
#   make check      deps and all tests, from nothing
#   make lint       clang-format, gcc -Werror and -fanalyzer, clang-tidy, cppcheck, shellcheck
#   make format     clang-format, in place
#   make bench      compared with other tools, 25 minutes; bench-quick, bench-instructions (tests/bench/)
#   make check-sanitized  functional tests in the container flavour, hostile guests in machines, of a program under the address sanitizer
#   make tsan       unit tests of what threads share, under the thread sanitizer
#   make validator  the specification's own validator of executors, in both flavours
#   make valgrind   commands, pods and unit tests under memcheck
#   make soak       faults, kills, load and races at length (tests/fault/): SOAK_SECONDS=900, SOAK_KILLS=1000
#   make fuzz       every fuzz harness for FUZZ_SECONDS each, or until it has had FUZZ_TOTAL seconds of CPU time
#   make fuzz-seeds the harnesses' recorded seeds, anew, from real machines (tests/fuzz/record/)
#   make install    DESTDIR, PREFIX

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

PREFIX ?= /usr/local
BUILD  := build
V      ?= 0
Q      := $(if $(filter 1,$(V)),,@)
say     = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2))

CC     := gcc
CLANG  := clang
VERSION := $(shell cat VERSION)

WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	    -Wvla -Wformat=2 -Wno-format-nonliteral $(if $(WERROR),-Werror)
CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -I$(BUILD)/generated -DAPPC_VM_VERSION='"$(VERSION)"'
CFLAGS   ?= -O2 -g
STANDARD := -std=gnu17
HARDENING := -fstack-protector-strong -fPIE $(if $(findstring -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
LIBS     := -ljansson -lfdt -larchive -luring -lseccomp -lpthread
# The program itself has its few small libraries inside: each one to load, relocate and map costs a start 0.1 ms
# and a VMM some pages. The large ones are loaded when they are needed (store/libarchive.c, store/download.c).
PROGRAM_LIBS := -Wl,-Bstatic -ljansson -lfdt -luring -lseccomp -Wl,-Bdynamic -lpthread

LIBRARY_FOLDERS := base wire appc store virtio virtio/fs vmm pod
LIBRARY_SOURCES := $(foreach folder,$(LIBRARY_FOLDERS),$(wildcard $(folder)/*.c))
CLI_SOURCES     := $(wildcard cli/*.c)
INIT_SOURCES    := $(wildcard guest-init/*.c) $(wildcard base/*.c) $(wildcard wire/*.c)
UNIT_TESTS      := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
FUZZERS         := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all
all: $(BUILD)/appc-vm $(BUILD)/guest-init

# ---- the program
PROGRAM_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(LIBRARY_SOURCES) $(CLI_SOURCES))

$(BUILD)/appc-vm: $(PROGRAM_OBJECTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -pie -Wl,-z,relro,-z,now $(LDFLAGS) -o $@ $^ $(PROGRAM_LIBS)

$(BUILD)/obj/%.o: %.c VERSION Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(HARDENING) -MMD -MP -c -o $@ $<

# ---- the VMM's system call filters, from the tags in its sources; what is allowed, for people and tests
FILTERS := $(BUILD)/generated/filter_programs.h
$(FILTERS): $(BUILD)/generated/filter.stamp
	$(Q):
$(BUILD)/generated/filter.stamp: vmm/filter_generate.py $(LIBRARY_SOURCES)
	$(call say,FILTER,$(FILTERS))
	$(Q)vmm/filter_generate.py --cc "$(CC)" --programs $(FILTERS) \
		--calls $(BUILD)/generated/filter_calls.txt $(LIBRARY_SOURCES)
	$(Q)touch $@

$(foreach kind,obj sanitized fuzzed,$(BUILD)/$(kind)/vmm/filter.o): $(FILTERS)

# ---- what the debug shell's server is started with, inside of the program
SSH_SERVER := $(BUILD)/generated/ssh_server.h
$(BUILD)/ssh_server.so: pod/preload/ssh_server.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -O2 -fPIC -shared -nostartfiles -s -Wl,-z,noseparate-code,-z,norelro \
		-Wl,--build-id=none -o $@ $<
$(SSH_SERVER): $(BUILD)/ssh_server.so
	$(Q)mkdir -p $(@D)
	$(Q)od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g' >$@

$(foreach kind,obj sanitized fuzzed threaded,$(BUILD)/$(kind)/pod/debug_tree.o): $(SSH_SERVER)
$(BUILD)/unit/test_ssh_server: | $(BUILD)/ssh_server.so

# ---- the same program in the hands of its guest, for tests/functional/jail.bats
$(BUILD)/appc-vm-captured: $(PROGRAM_OBJECTS) $(BUILD)/obj/tests/attack/attempts.o $(BUILD)/obj/tests/attack/hook.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -pie -Wl,-z,relro,-z,now -Wl,--wrap=loop_run,--wrap=virtio_mmio_write,--wrap=machine_run,--wrap=io_uring_queue_init_params $(LDFLAGS) -o $@ $^ $(PROGRAM_LIBS)

# ---- the guest's init: static, small, no position independence to relocate
INIT_OBJECTS := $(patsubst %.c,$(BUILD)/init/%.o,$(INIT_SOURCES))

$(BUILD)/guest-init: $(INIT_OBJECTS)
	$(call say,LD,$@)
	$(Q)$(CC) -Os -static -no-pie -s -Wl,--gc-sections,-z,norelro -Wl,--build-id=none -o $@ $^ -ljansson

$(BUILD)/init/%.o: %.c VERSION Makefile
	$(call say,CC,"$< (guest)")
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -Os -fno-pie -ffunction-sections -fdata-sections \
		-fstack-protector-strong -MMD -MP -c -o $@ $<

# ---- unit tests: everything under address and undefined behaviour sanitizers
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
TEST_SOURCES := $(LIBRARY_SOURCES) $(filter-out cli/main.c,$(CLI_SOURCES)) \
		$(filter-out guest-init/main.c,$(wildcard guest-init/*.c))
TEST_OBJECTS := $(patsubst %.c,$(BUILD)/sanitized/%.o,$(TEST_SOURCES))

$(BUILD)/sanitized/%.o: %.c VERSION Makefile
	$(call say,CC,"$< (sanitized)")
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -O1 -g $(SANITIZE) -MMD -MP -c -o $@ $<

$(BUILD)/sanitized/libappc.a: $(TEST_OBJECTS)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/unit/%: $(BUILD)/sanitized/tests/unit/%.o $(BUILD)/sanitized/libappc.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(SANITIZE) $(TEST_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS) -lcmocka

# Functions for which a test has its own.
$(BUILD)/unit/test_parking: TEST_LDFLAGS := -Wl,--wrap=flavour_start
$(addprefix $(BUILD)/unit/,test_app_request test_enter test_run_pause test_stream): TEST_LDFLAGS := -Wl,--wrap=poll,--wrap=clock_monotonic
$(BUILD)/unit/test_run_apps: TEST_LDFLAGS := -Wl,--wrap=malloc -Wl,--wrap=realloc
$(BUILD)/unit/test_guest_app: TEST_LDFLAGS := -Wl,--wrap=guest_now_ms
# Without KVM (tests/unit/bare_kvm.h).
$(addprefix $(BUILD)/,unit/test_exits unit/test_hostile threaded/test_hostile fuzz/fuzz_hostile): TEST_LDFLAGS := -Wl,--wrap=ioctl
$(BUILD)/fuzz/fuzz_exits: TEST_LDFLAGS := -Wl,--wrap=ioctl,--wrap=machine_stand_still,--wrap=log_message

# The cases of tests/hostile are in a unit test, in a fuzz harness and in a guest of their own.
HOSTILE_SOURCES := $(wildcard tests/hostile/*.c)
$(BUILD)/unit/test_hostile: $(patsubst %.c,$(BUILD)/sanitized/%.o,$(HOSTILE_SOURCES))
$(BUILD)/fuzz/fuzz_hostile: $(patsubst %.c,$(BUILD)/fuzzed/%.o,$(HOSTILE_SOURCES))

# What a captured VMM would try, in a jail without a machine.
$(BUILD)/unit/test_jail: $(BUILD)/sanitized/tests/attack/attempts.o

.PHONY: unit-tests
unit-tests: $(addprefix $(BUILD)/unit/,$(UNIT_TESTS))

# ---- the program itself under the same sanitizers, for all functional tests in the container flavour
$(BUILD)/sanitized/bin/appc-vm: $(BUILD)/sanitized/cli/main.o $(BUILD)/sanitized/libappc.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(LIBS)
	$(Q)ln -sf ../../guest-init ../../vmlinux $(@D)/

.PHONY: check-sanitized
check-sanitized: deps
	$(Q)$(MAKE) --no-print-directory $(JOBS) all $(BUILD)/sanitized/bin/appc-vm \
		$(addprefix $(BUILD)/,$(TEST_PROGRAMS)) kernel
	$(Q)tests/run.sh sanitized

# ---- what vCPUs, event loop and workers share: the same tests under the thread sanitizer. The cases of the hostile
# guest are compiled without it: a guest may write while the device reads, and devices are made for that.
THREADED_TESTS := $(filter test_hostile test_balloon test_rng test_fs_% test_virt%,$(UNIT_TESTS))
THREADED_OBJECTS := $(patsubst %.c,$(BUILD)/threaded/%.o,$(TEST_SOURCES))
# (What it makes the compiler warn of: variables that may be unset, and fences, which order what the guest sees.)
THREADED_FLAGS = $(if $(filter tests/hostile/%,$<),,-fsanitize=thread -Wno-maybe-uninitialized -Wno-tsan)

$(BUILD)/threaded/%.o: %.c VERSION Makefile
	$(call say,CC,"$< (threaded)")
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -O1 -g -fPIE $(THREADED_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/threaded/libappc.a: $(THREADED_OBJECTS)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/threaded/test_hostile: $(patsubst %.c,$(BUILD)/threaded/%.o,$(HOSTILE_SOURCES))

$(BUILD)/threaded/%: $(BUILD)/threaded/tests/unit/%.o $(BUILD)/threaded/libappc.a
	$(call say,LD,$@)
	$(Q)$(CC) -fsanitize=thread -pie $(TEST_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS) -lcmocka

# And the program itself, with the hostile guest in its machine.
$(BUILD)/threaded/bin/appc-vm: $(BUILD)/threaded/cli/main.o $(BUILD)/threaded/libappc.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -fsanitize=thread -pie -o $@ $^ $(LIBS)
	$(Q)ln -sf ../../guest-init $(@D)/guest-init

.PHONY: tsan
tsan: $(addprefix $(BUILD)/threaded/,$(THREADED_TESTS) bin/appc-vm) $(BUILD)/guest-init \
		$(BUILD)/hostile-guest $(BUILD)/guest-probe
	$(Q)tests/tsan.sh $(addprefix $(BUILD)/threaded/,$(THREADED_TESTS))

# ---- the same without sanitizers, for valgrind, and with it commands of the program and pods. What takes long there has
# fewer turns (tests/unit/turns.h). Left out are:
#   test_filter           filters of system calls are not made there, since they would stop valgrind's own calls
#   test_guest_launcher   the processes that it tests share their memory, for which valgrind has no place
#   test_guest_park       the same
#   test_jail             an execve(2) that fails ends a process there, and a jailed one tries it
#   test_virtio_fs_races  threads take turns there instead of racing, and fds of valgrind's are taken for lost ones
#   test_virtio_fs_full   the signals that end its processes are what it looks for
UNTRACED_TESTS := test_filter test_guest_launcher test_guest_park test_jail test_virtio_fs_full test_virtio_fs_races
VALGRIND_TESTS := $(filter-out $(UNTRACED_TESTS),$(UNIT_TESTS))
$(BUILD)/valgrind/native_calls.so: tests/valgrind/native_calls.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) -Wno-missing-prototypes $(CPPFLAGS) -O2 -fPIC -shared -o $@ $<

.PHONY: valgrind
valgrind: deps
	$(Q)$(MAKE) --no-print-directory $(JOBS) all $(BUILD)/guest-probe $(BUILD)/valgrind/native_calls.so kernel
	$(Q)$(MAKE) --no-print-directory $(JOBS) BUILD=$(BUILD)/valgrind SANITIZE= \
		$(addprefix $(BUILD)/valgrind/unit/,$(VALGRIND_TESTS))
	$(Q)tests/valgrind/run.sh $(BUILD)/appc-vm $(BUILD)/valgrind/native_calls.so \
		$(addprefix $(BUILD)/valgrind/unit/,$(VALGRIND_TESTS))

# ---- the specification's validator, from Debian's packages
.PHONY: validator
validator: deps
	$(Q)tests/deps.sh --validator
	$(Q)$(MAKE) --no-print-directory $(JOBS) all kernel
	$(Q)tests/validator.sh

# ---- fuzz harnesses: libFuzzer; make check replays each corpus
FUZZ_SANITIZE := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZ_OBJECTS := $(patsubst %.c,$(BUILD)/fuzzed/%.o,$(TEST_SOURCES))
FUZZ_SECONDS ?= 60

$(BUILD)/fuzzed/%.o: %.c VERSION Makefile
	$(call say,CLANG,"$< (fuzzed)")
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(STANDARD) $(CPPFLAGS) -O1 -g $(FUZZ_SANITIZE) -Wno-gnu-variable-sized-type-not-at-end \
		-MMD -MP -c -o $@ $<

$(BUILD)/fuzzed/libappc.a: $(FUZZ_OBJECTS)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/fuzz/%: $(BUILD)/fuzzed/tests/fuzz/%.o $(BUILD)/fuzzed/libappc.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined $(TEST_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

# ---- what real machines say, for seeds of the harnesses (tests/fuzz/record/): the program with a hook that writes it down
RECORDED := virtio_mmio_attach virtqueue_pop virtqueue_unpop virtqueue_push virtqueue_push_all \
	    virtio_console_transmit message_port_init
$(BUILD)/appc-vm-recording: $(PROGRAM_OBJECTS) $(BUILD)/obj/tests/fuzz/record/hook.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -pie -Wl,-z,relro,-z,now $(RECORDED:%=-Wl,--wrap=%) $(LDFLAGS) -o $@ $^ $(PROGRAM_LIBS)

$(BUILD)/guest-traffic: tests/fuzz/record/traffic.c Makefile
	$(call say,CC,$@)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -O2 -static -s -o $@ $<

.PHONY: fuzz-seeds
fuzz-seeds: deps
	$(Q)$(MAKE) --no-print-directory $(JOBS) all $(BUILD)/appc-vm-recording $(BUILD)/guest-traffic \
		$(BUILD)/guest-network $(BUILD)/guest-metadata $(BUILD)/guest-probe kernel
	$(Q)tests/fuzz/record/record.sh

.PHONY: fuzzers fuzz
fuzzers: $(addprefix $(BUILD)/fuzz/,$(FUZZERS))
fuzz: fuzzers
	tests/fuzz/run.sh $(FUZZ_TOTAL:%=--total=%) $(FUZZ_SECONDS)

# ---- the apps of the functional tests: static, run in guests and on the host
$(BUILD)/guest-%: tests/functional/guest/%.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -O2 -static -s -o $@ $(filter %.c,$^)

# A library that has a VMM make system calls that it may not.
$(BUILD)/forbidden.so: tests/functional/forbidden.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) -Wno-missing-prototypes $(CPPFLAGS) -O2 -fPIC -shared -o $@ $<

$(BUILD)/guest-posix: tests/functional/guest/posix_cases.h
$(BUILD)/guest-probe: $(wildcard tests/functional/guest/probe_*.c) tests/functional/guest/probe.h

# What the functional tests run, beside the program itself.
TEST_PROGRAMS := guest-probe guest-metadata guest-files guest-posix guest-network \
		 forbidden.so fault.so appc-vm-captured hostile-guest

# ---- the hostile guest: no Linux, no library; an ELF file that the program boots as a kernel
METAL_OBJECTS := $(patsubst %,$(BUILD)/metal/%.o,$(basename $(filter-out %/in_process.c %/in_process_host.c,$(HOSTILE_SOURCES)) \
			$(wildcard tests/hostile/metal/*.c tests/hostile/metal/*.S)))
METAL_FLAGS := -O2 -ffreestanding -fno-pie -mno-red-zone -mgeneral-regs-only -fcf-protection=none \
	       -fno-stack-protector -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns

$(BUILD)/hostile-guest: $(METAL_OBJECTS) tests/hostile/metal/link.ld
	$(call say,LD,$@)
	$(Q)$(CC) -nostdlib -static -no-pie -Wl,--build-id=none,--no-warn-rwx-segments \
		-Wl,-T,tests/hostile/metal/link.ld -o $@ $(METAL_OBJECTS)

$(BUILD)/metal/%.o: %.c Makefile
	$(call say,CC,"$< (metal)")
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) -I. -DHOSTILE_METAL $(METAL_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/metal/%.o: %.S Makefile
	$(call say,AS,"$< (metal)")
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(METAL_FLAGS) -c -o $@ $<

# ---- what makes calls fail, preloaded (tests/fault)
$(BUILD)/fault.so: tests/fault/fault.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -O2 -fPIC -shared -o $@ $<

# ---- from nothing: dependencies, kernel, demo, tests
# Parallel by itself, unless the caller's -j is there to be shared.
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: deps kernel demo check lint format install clean
deps:
	$(Q)./tests/deps.sh

kernel: deps
	$(Q)mkdir -p $(BUILD)
	$(Q)vmlinux=$$(kernel-config/build.sh) && ln -sfn "$$vmlinux" $(BUILD)/vmlinux

demo: deps
	$(Q)$(MAKE) --no-print-directory $(JOBS) all kernel
	$(Q)examples/demo.sh

check: deps
	$(Q)$(MAKE) --no-print-directory $(JOBS) all unit-tests fuzzers \
		$(addprefix $(BUILD)/,$(TEST_PROGRAMS)) kernel
	$(Q)tests/run.sh

.PHONY: soak
soak: deps
	$(Q)$(MAKE) --no-print-directory $(JOBS) all $(BUILD)/guest-probe $(BUILD)/guest-network $(BUILD)/fault.so \
		$(BUILD)/unit/test_virtio_fs_races kernel
	$(Q)tests/run.sh soak

include tests/bench/bench.mk

lint: deps
	$(Q)tests/lint.sh

format:
	clang-format -i $$(find . -path ./$(BUILD) -prune -o -name '*.[ch]' -print)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/appc-vm $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(BUILD)/appc-vm $(DESTDIR)$(PREFIX)/bin/appc-vm
	install -m 755 $(BUILD)/guest-init $(DESTDIR)$(PREFIX)/lib/appc-vm/guest-init
	install -m 644 "$$(kernel-config/build.sh)" $(DESTDIR)$(PREFIX)/lib/appc-vm/vmlinux
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	$(BUILD)/appc-vm completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/appc-vm

clean:
	rm -rf $(BUILD)

.SECONDARY:
-include $(shell find $(addprefix $(BUILD)/,obj init sanitized fuzzed metal threaded) -name '*.d' 2>/dev/null)
