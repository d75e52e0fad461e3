# SPDX-License-Identifier: Apache-2.0
# The benchmark (docs/benchmarks.md). Part of the Makefile.
#
#   make bench                all of it, about 20 minutes where the guest kernel is emulated
#   make bench-quick          2 minutes
#   make bench-instructions   guest kernel instructions of each step against tests/bench/budget.json

BENCH_HOST  := timer rate
BENCH_GUEST := $(patsubst tests/bench/guest/%.c,%,$(wildcard tests/bench/guest/*.c))
BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,$(BENCH_HOST) $(BENCH_GUEST) fs_rate)

$(addprefix $(BUILD)/bench/,$(BENCH_HOST)): $(BUILD)/bench/%: tests/bench/%.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -O2 -o $@ $<

# The file server alone, with the program's own objects.
$(BUILD)/bench/fs_rate: $(patsubst %.c,$(BUILD)/obj/%.o,tests/bench/fs_rate.c $(LIBRARY_SOURCES))
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# Static: they run in guests that have no libraries.
$(addprefix $(BUILD)/bench/,$(BENCH_GUEST)): $(BUILD)/bench/%: tests/bench/guest/%.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(STANDARD) $(WARNINGS) $(CPPFLAGS) -O2 -static -s -o $@ $<

.PHONY: bench bench-quick bench-instructions bench-programs
bench-programs: $(BENCH_PROGRAMS)

bench: BENCH_FLAGS :=
bench-quick: BENCH_FLAGS := --quick
bench-instructions: BENCH_FLAGS := --instructions
bench bench-quick bench-instructions: deps
	$(Q)./tests/deps.sh --bench
	$(Q)$(MAKE) --no-print-directory $(JOBS) all kernel bench-programs
	$(Q)tests/bench/run.sh $(BENCH_FLAGS)
