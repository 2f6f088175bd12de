# facet: GNU make 4.0+.  "make help" lists what you can ask for; docs/testing.md says what proves what.
V      ?= 0
CONFIG ?= release
CC     ?= cc
TRIPLE := $(shell $(CC) -dumpmachine 2>/dev/null)
ARCH   := $(firstword $(subst -, ,$(TRIPLE)))
CROSS  := $(if $(filter-out $(shell uname -m),$(ARCH)),$(patsubst %gcc,%,$(CC)))
B      := build/$(CONFIG)$(if $(CROSS),-$(ARCH))$(if $(findstring clang,$(CC)),-clang)

# Two jobs on two cores unless you say otherwise ("make -j8", "make -j1").
ifeq (0,$(MAKELEVEL)$(findstring -j,$(MAKEFLAGS)))
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-print-directory

# ---- flags: one line per build flavour -------------------------------------
opt.release := -O3 -g -DNDEBUG
opt.debug   := -O0 -g
# (instrumented code loses value ranges, so gcc would warn of truncation that cannot happen)
opt.asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -Wno-format-truncation
opt.tsan    := -O1 -g -fsanitize=thread -Wno-format-truncation
opt.fuzz    := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer
WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes
CFLAGS ?=
# Simple variables: $(shell) inside runs once, not in every recipe (where it also races with make's own children).
FEAT   := $(FEAT)
LDLIBS := $(LDLIBS)
CMDLIBS :=
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Iinclude -iquote src $(WARN) $(opt.$(CONFIG)) \
             -ffp-contract=off -fno-math-errno -fvisibility=hidden $(if $(filter 1,$(WERROR)),-Werror) $(FEAT) $(CFLAGS)
LDLIBS += -lm -pthread

# ---- instruction sets: the folder name picks the flags ----------------------
isas.x86_64  := avx2 avxvnni avx512 bf16 amx
isas.aarch64 := neon i8mm
isa.avx2   := -mavx2 -mfma -mf16c
isa.avxvnni := $(isa.avx2) -mavxvnni
isa.avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c
isa.bf16   := $(isa.avx512) -mavx512bf16
isa.amx    := $(isa.bf16) -mamx-tile -mamx-int8 -mamx-bf16
isa.neon   := -march=armv8.2-a+dotprod+fp16
isa.i8mm   := $(isa.neon)+i8mm

# ---- libraries; a cross build looks at its own machine's ---------------------
PKG_CONFIG ?= $(if $(CROSS),PKG_CONFIG_LIBDIR=/usr/lib/$(TRIPLE)/pkgconfig )pkg-config
have = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes)
FEAT   += $(shell $(PKG_CONFIG) --cflags jansson 2>/dev/null)
LDLIBS += $(or $(shell $(PKG_CONFIG) --libs jansson 2>/dev/null),-ljansson)
# Packed training data; without them it must be plain.
PACKED   := $(strip $(foreach l,zlib libzstd,$(if $(call have,$(l)),$(l))))
PACKLIBS := $(if $(PACKED),$(shell $(PKG_CONFIG) --libs $(PACKED)))
LDLIBS   := $(PACKLIBS) $(LDLIBS)
ifeq ($(call have,libedit),yes)
FEAT += -DFC_HAVE_LIBEDIT $(shell $(PKG_CONFIG) --cflags libedit)
CMDLIBS += $(shell $(PKG_CONFIG) --libs libedit)
endif
# libevent is for facet serve only: the library does without it.
ifeq (,$(CROSS))
FEAT   += $(shell $(PKG_CONFIG) --cflags libevent_core 2>/dev/null)
EVENTLIBS := $(or $(shell $(PKG_CONFIG) --libs libevent_core 2>/dev/null),-levent_core)
else
# Debian installs libevent-dev for one architecture only.  This machine's serves: its one header of its own folder says the same of
# every 64-bit Linux.
FEAT   += -idirafter /usr/include/$(shell cc -dumpmachine)
EVENTLIBS := -l:libevent_core-2.1.so.7
endif

# ---- sources: adding a file needs no edit here -------------------------------
# Fuzzing is about parsers; clang takes many minutes to instrument the wide kernels.
KDIRS   := ref $(if $(filter fuzz,$(CONFIG)),,$(isas.$(ARCH)))
SRCS    := $(wildcard src/*/*.c) $(foreach k,$(KDIRS),$(wildcard src/kern/$(k)/*.c))
FEAT    += $(foreach k,$(KDIRS),-DFC_KERN_$(k))
LIBSRC  := $(filter-out src/cmd/% src/serve/%,$(SRCS))
LIBOBJ  := $(LIBSRC:%.c=$(B)/%.o)
PAGE     := $(sort $(wildcard src/serve/page/*))
SERVEOBJ := $(patsubst %.c,$(B)/%.o,$(filter src/serve/%,$(SRCS))) $(B)/src/serve/page_files.o $(B)/src/serve/openapi_files.o
CMDOBJ  := $(patsubst %.c,$(B)/%.o,$(filter src/cmd/%,$(SRCS)))

TESTSRC := $(wildcard tests/unit/test_*.c tests/kern/check_*.c tests/fault/fault_*.c)
TESTS   := $(TESTSRC:%.c=$(B)/%)
# Instrumented or emulated, everything would take an hour.
at = $(addprefix $(B)/tests/,$(1))
ifeq ($(CONFIG),tsan)
# What computes on one thread has no races: the pool, what runs on it, the engine (test_run_prefix: its thread alone), the server.
TESTS   := $(filter $(call at,unit/test_os% unit/test_run_e% unit/test_run_s% unit/test_serve% unit/test_bench unit/test_dev_back kern/check_attention),$(TESTS))
endif
ifeq ($(CONFIG),asan)
TESTS   := $(filter-out $(call at,unit/test_model_invariance),$(TESTS))       # golden, rows and kv go the same ways
endif
ifneq ($(CROSS),)
# What no instruction set changes: the server, faults, schemas, conversion; whole runs of training and invariance take minutes, check_mul, check_attention and model_rows compare the same bits.
TESTS   := $(filter-out $(call at,fault/fault_door fault/fault_run fault/fault_serve% fault/fault_store unit/test_schema_suite unit/test_serve_% unit/test_run_prefix unit/test_run_store unit/test_run_turns unit/test_quant unit/test_merge fault/fault_merge fault/fault_quant unit/test_model_invariance unit/test_tune_run),$(TESTS))
endif
GENS    := $(patsubst %.c,$(B)/%,$(wildcard tests/gen/mk_*.c))
SUPPORT := $(B)/tests/support.a
SUPOBJ  := $(patsubst %.c,$(B)/%.o,$(wildcard tests/support/*.c) $(foreach k,$(KDIRS),$(wildcard tests/support/$(k)/*.c)))
SCRIPTS := $(sort $(wildcard tests/e2e/*.sh))
ifneq ($(CROSS)$(filter asan tsan,$(CONFIG)),)
SCRIPTS := $(filter-out tests/e2e/dpo.sh,$(SCRIPTS))         # the exact path for fifty steps; tune.sh goes the same ways
endif
ifeq ($(CONFIG),tsan)
SCRIPTS := $(filter-out tests/e2e/bench.sh,$(SCRIPTS))       # test_bench has its threads
endif
ifneq ($(CROSS),)
# Minutes of training under an emulator; test_tune_gradients and check_back have its arithmetic.
SCRIPTS := $(filter-out tests/e2e/tune.sh,$(SCRIPTS))
endif
FUZZ    := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZ:%=$(B)/tests/fuzz/replay_%)
EXAMPLES := $(patsubst %.c,$(B)/%,$(wildcard examples/*.c))
BUNDLED := $(firstword $(wildcard models/*.gguf))

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' $(1) $(2))

all: $(B)/facet                     ## build ./facet (the default); installs nothing
ifeq ($(B),build/release)
	$(Q)cmp -s $(B)/facet facet || cp $(B)/facet facet
endif

$(B)/facet: $(CMDOBJ) $(B)/serve.a $(B)/libfacet.a
	$(call say,LD,$@)
	$(Q)$(CC) $(opt.$(CONFIG)) $(LDFLAGS) -o $@ $^ $(CMDLIBS) $(EVENTLIBS) $(LDLIBS)

$(B)/libfacet.a: $(LIBOBJ) $(B)/.list
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(CROSS)ar rcs $@ $(LIBOBJ)

# The server: an archive of its own, so that tests take from it what they need and libfacet stays free of libevent.
$(B)/serve.a: $(SERVEOBJ) $(B)/.list
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(CROSS)ar rcs $@ $(SERVEOBJ)

# The page's files and the description of the interfaces become part of the program.
$(B)/src/serve/page_files.c: $(PAGE)
$(B)/src/serve/openapi_files.c: src/serve/openapi.json
$(B)/src/serve/%_files.c: tools/embed.sh $(B)/.list
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D) && sh tools/embed.sh $* $(filter-out tools/embed.sh %/.list,$^) >$@.new && mv $@.new $@
$(B)/src/serve/%_files.o: $(B)/src/serve/%_files.c $(B)/.flags
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# What others get: one object in which only facet_* is visible, so that our short internal names
# cannot collide with another library in the same program.
$(B)/public/libfacet.a: $(B)/libfacet.a
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@
	$(Q)$(CROSS)ld -r -o $(@D)/all.o $(LIBOBJ)
	$(Q)$(CROSS)objcopy --wildcard --keep-global-symbol='facet_*' $(@D)/all.o $(@D)/facet.o
	$(Q)$(CROSS)ar rcs $@ $(@D)/facet.o && rm $(@D)/all.o $(@D)/facet.o

# Where variables of unrolled loops live takes gcc as long to write down as the loops, and three times the memory: lines are enough.
$(B)/src/kern/%.o $(B)/tests/support/amx/%.o: private CFLAGS += -g1
$(B)/%.o: %.c $(B)/.flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(isa.$(notdir $(@D))) -MMD -MP -c -o $@ $<

$(B)/src/tune/data_gzip.o $(B)/src/tune/data_zstd.o: $(B)/.list
$(B)/src/tune/data_gzip.o: private FEAT += $(if $(filter zlib,$(PACKED)),-DFC_HAVE_ZLIB $(shell $(PKG_CONFIG) --cflags zlib))
$(B)/src/tune/data_zstd.o: private FEAT += $(if $(filter libzstd,$(PACKED)),-DFC_HAVE_ZSTD $(shell $(PKG_CONFIG) --cflags libzstd))
# (private: the stamp of the flags is made on the way to whichever object comes first)
$(B)/tests/%.o: private FEAT += -iquote tests
# An archive, so that a program takes only what it uses: fuzz targets are linked without cmocka.
$(SUPPORT): $(SUPOBJ)
	$(Q)rm -f $@ && $(CROSS)ar rcs $@ $(SUPOBJ)
# The program with answers by a script (tests/script/script.c): one object of the library is another one.
$(B)/tests/script/engine_step.o: src/run/engine_step.c $(B)/.flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DFC_TEST_SCRIPT -MMD -MP -c -o $@ $<
$(B)/tests/script/script.o: private CFLAGS += -DFC_TEST_SCRIPT
$(B)/tests/script/facet: $(CMDOBJ) $(B)/tests/script/engine_step.o $(B)/tests/script/script.o $(B)/serve.a $(B)/libfacet.a
	$(call say,LD,$@)
	$(Q)$(CC) $(opt.$(CONFIG)) $(LDFLAGS) -o $@ $^ $(CMDLIBS) $(EVENTLIBS) $(LDLIBS)
$(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(SUPPORT) $(B)/serve.a $(B)/libfacet.a
	$(call say,LD,$@)
	$(Q)$(CC) $(opt.$(CONFIG)) $(LDFLAGS) -o $@ $^ $(EVENTLIBS) $(LDLIBS)
$(B)/tests/fuzz/libfuzzer_%: $(B)/tests/fuzz/fuzz_%.o $(SUPPORT) $(B)/serve.a $(B)/libfacet.a
	$(call say,LD,$@)
	$(Q)$(CC) $(opt.$(CONFIG)) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(EVENTLIBS) $(LDLIBS)
$(B)/tests/%: $(B)/tests/%.o $(SUPPORT) $(B)/serve.a $(B)/libfacet.a
	$(call say,LD,$@)
	$(Q)$(CC) $(opt.$(CONFIG)) $(LDFLAGS) -o $@ $^ -lcmocka $(EVENTLIBS) $(LDLIBS)
# Examples see what an embedder sees: the public header and the public archive.
$(B)/examples/%: examples/%.c include/facet.h $(B)/public/libfacet.a $(B)/.flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=c11 $(WARN) $(opt.$(CONFIG)) -Iinclude $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/public/libfacet.a $(LDLIBS)

# Two stamps: changed flags rebuild objects, a changed file list rebuilds the archive.
keep = @mkdir -p $(@D); printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' > $@
$(B)/.flags: FORCE ; $(call keep,$(CC) $(ALL_CFLAGS))
$(B)/.list:  FORCE ; $(call keep,$(LIBOBJ) $(SERVEOBJ) $(PAGE) $(EVENTLIBS) $(LDLIBS))

# ---- set-up and use -----------------------------------------------------------
# make reads what pkg-config knows when it starts, so whatever follows an installation is a make of its own.
deps:                               ## install the packages that building and testing need (apt), or name them
	@sh tools/deps.sh build test
run:                                ## all set-up, then talk to the bundled model
	@sh tools/deps.sh build
	+@$(MAKE) all
	@./facet chat

# ---- tests --------------------------------------------------------------------
check:                              ## all set-up, then every test; ends with "N passed, N failed"
	@sh tools/deps.sh build test
	+@$(MAKE) test
LINT := 'sh tools/check-layers.sh' 'sh tools/check-symbols.sh $(B)/libfacet.a $(B)/serve.a'
lint: $(B)/libfacet.a $(B)/serve.a               ## layers, symbols and names
	@sh tools/run-tests.sh $(B) $(LINT)
programs: $(TESTS) $(REPLAYS) $(EXAMPLES) $(GENS) $(B)/facet
test: programs all                  ## check without the set-up; ONLY=gguf runs what has that in its name
	@BUNDLED='$(BUNDLED)' sh tools/run-tests.sh $(B) $(TESTS) \
	   $(foreach f,$(FUZZ),'$(B)/tests/fuzz/replay_$(f) tests/fuzz/seeds/$(f)') \
	   $(SCRIPTS:%='sh %') $(LINT)
asan tsan debug:                    ## the same tests in that flavour
	@sh tools/deps.sh build test
	+@$(MAKE) CONFIG=$@ test
clang:                              ## the same tests, built with clang
	@sh tools/deps.sh build test clang
	+@$(MAKE) CC=clang test

T ?= 60
fuzz:                               ## libFuzzer on every parser, T=60 seconds in all
	@sh tools/deps.sh build test clang
	+@$(MAKE) CC=clang CONFIG=fuzz fuzz-run
fuzz-run: $(FUZZ:%=$(B)/tests/fuzz/libfuzzer_%)
	@sh tools/run-fuzz.sh $(B) $(T) $(FUZZ)

ARM := CC=aarch64-linux-gnu-gcc
cross:                              ## build for aarch64
	@sh tools/deps.sh build cross
	+@$(MAKE) $(ARM) programs
check-qemu:                         ## run the aarch64 tests under qemu as a Cortex-A76 (Raspberry Pi 5), products also with i8mm
	@sh tools/deps.sh build test cross
	+@RUN='qemu-aarch64 -cpu max' $(MAKE) $(ARM) test ONLY=check_mul
	+@RUN='qemu-aarch64 -cpu cortex-a76' $(MAKE) $(ARM) test
oracle:                             ## rebuild the reference's answers and compare everything (Python, PyPI)
	@sh tools/deps.sh build test oracle
	+@$(MAKE) programs all
	@sh tests/oracle/run.sh
check-clients:                      ## real clients and agents drive facet serve (Python, PyPI)
	@sh tools/deps.sh build oracle
	+@$(MAKE) all $(B)/tests/script/facet
	@sh tests/clients/run.sh
check-page:                         ## the page of facet serve in a real browser (Python, Chromium); SHOTS=folder keeps pictures
	@sh tools/deps.sh build page
	+@$(MAKE) all
	@FACET=$(B)/facet sh tests/page/run.sh $(SHOTS)
prove-llamacpp:                     ## files of llama.cpp in Facet and of Facet in llama.cpp (Python, PyPI, cmake)
	@sh tools/deps.sh build test oracle
	+@$(MAKE) programs all
	@sh tests/oracle/prove_llamacpp.sh
prove-plan: all                     ## facet plan against a real process with a full context: MODEL=FILE; writes tests/proofs/
	@MODEL='$(MODEL)' sh tests/proofs/prove_plan.sh
prove-serve:                        ## nginx, slowhttptest, 1,000 idle connections (Debian, python3); writes tests/proofs/
	@sh tools/deps.sh build proxy
	+@$(MAKE) all
	@sh tests/proofs/prove_serve.sh
prove-serve-speed:                  ## facet serve beside llama.cpp's server, MODEL=FILE (Python, PyPI, cmake, wrk); writes tests/proofs/
	@sh tools/deps.sh build oracle load
	+@$(MAKE) all
	@MODEL='$(MODEL)' sh tests/proofs/prove_serve_speed.sh
prove-soak:                         ## random clients against ASan and TSan builds at once, MINUTES=60; writes tests/proofs/
	+@$(MAKE) CONFIG=asan build/asan/facet
	+@$(MAKE) CONFIG=tsan build/tsan/facet
	@MINUTES='$(MINUTES)' sh tests/proofs/prove_soak.sh
prove-chroot:                       ## make run and make check in a fresh Debian 12; writes tests/proofs/
	@sh tools/prove-chroot.sh
bench: all $(B)/tests/kern/check_attention   ## time the machine and the kernels
	@./facet bench machine && ./facet bench kernels && $(B)/tests/kern/check_attention --bench
A ?= ./facet
bench-compare:                      ## A=./facet B=other|llama:LLBENCH MODEL=file: two programs side by side
	@sh tools/bench-compare "$(A)" "$(B)" "$(MODEL)"

# ---- install ------------------------------------------------------------------
PREFIX ?= /usr/local
install: all $(B)/public/libfacet.a ## program, library, header and bundled model to DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/facet
	install -m 755 $(B)/facet $(DESTDIR)$(PREFIX)/bin/facet
	install -m 644 $(B)/public/libfacet.a $(DESTDIR)$(PREFIX)/lib/libfacet.a
	install -m 644 include/facet.h $(DESTDIR)$(PREFIX)/include/facet.h
	$(if $(BUNDLED),install -m 644 $(BUNDLED) $(DESTDIR)$(PREFIX)/share/facet/)
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: facet' 'Description: Gemma 4 inference' 'Version: $(shell sed -n 's,^.define FACET_VERSION "\(.*\)",\1,p' include/facet.h)' 'Requires.private: jansson' \
	    'Cflags: -I$${prefix}/include' 'Libs: -L$${prefix}/lib -lfacet $(PACKLIBS) -ljansson -lm -pthread' > $(DESTDIR)$(PREFIX)/lib/pkgconfig/facet.pc
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/facet lib/libfacet.a lib/pkgconfig/facet.pc include/facet.h $(if $(BUNDLED),share/facet/$(notdir $(BUNDLED))))

clean:                              ## remove everything that was built
	rm -rf build facet
help:                               ## this list
	@sed -n 's/^\([a-z][a-z -]*\):.*## /\1\t/p' Makefile | expand -t 18

.SECONDARY:
.PHONY: FORCE all deps run check lint programs test asan tsan debug clang fuzz fuzz-run cross check-qemu oracle \
        check-clients check-page prove-llamacpp prove-plan prove-serve prove-serve-speed prove-soak prove-chroot bench bench-compare install uninstall clean help
-include $(shell find $(B)/src $(B)/tests -name '*.d' 2>/dev/null)
