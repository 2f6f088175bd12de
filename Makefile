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
isas.aarch64 := neon
isa.avx2   := -mavx2 -mfma -mf16c
isa.avxvnni := $(isa.avx2) -mavxvnni
isa.avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c
isa.bf16   := $(isa.avx512) -mavx512bf16
isa.amx    := $(isa.avx512) -mamx-tile -mamx-int8 -mamx-bf16
isa.neon   := -march=armv8.2-a+dotprod+fp16

# ---- libraries; a cross build looks at its own machine's ---------------------
PKG_CONFIG ?= $(if $(CROSS),PKG_CONFIG_LIBDIR=/usr/lib/$(TRIPLE)/pkgconfig )pkg-config
have = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes)
FEAT   += $(shell $(PKG_CONFIG) --cflags jansson 2>/dev/null)
LDLIBS += $(or $(shell $(PKG_CONFIG) --libs jansson 2>/dev/null),-ljansson)
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
SERVEOBJ := $(patsubst %.c,$(B)/%.o,$(filter src/serve/%,$(SRCS)))
CMDOBJ  := $(patsubst %.c,$(B)/%.o,$(filter src/cmd/%,$(SRCS)))

TESTSRC := $(wildcard tests/unit/test_*.c tests/kern/check_*.c tests/fault/fault_*.c)
TESTS   := $(TESTSRC:%.c=$(B)/%)
ifeq ($(CONFIG),tsan)
# What computes on one thread has no races; instrumented, it would take longer than all the rest.
TESTS   := $(filter-out $(addprefix $(B)/tests/,kern/check_mul kern/check_vec fault/fault_open fault/fault_text fault/fault_vocabulary \
             unit/test_plan unit/test_grammar unit/test_tok unit/test_parse unit/test_chat% unit/test_fmt% unit/test_num% unit/test_base%),$(TESTS))
endif
GENS    := $(patsubst %.c,$(B)/%,$(wildcard tests/gen/mk_*.c))
SUPPORT := $(B)/tests/support.a
SUPOBJ  := $(patsubst %.c,$(B)/%.o,$(wildcard tests/support/*.c) $(foreach k,$(KDIRS),$(wildcard tests/support/$(k)/*.c)))
SCRIPTS := $(sort $(wildcard tests/e2e/*.sh))
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

# What others get: one object in which only facet_* is visible, so that our short internal names
# cannot collide with another library in the same program.
$(B)/public/libfacet.a: $(B)/libfacet.a
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@
	$(Q)$(CROSS)ld -r -o $(@D)/all.o $(LIBOBJ)
	$(Q)$(CROSS)objcopy --wildcard --keep-global-symbol='facet_*' $(@D)/all.o $(@D)/facet.o
	$(Q)$(CROSS)ar rcs $@ $(@D)/facet.o && rm $(@D)/all.o $(@D)/facet.o

$(B)/%.o: %.c $(B)/.flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(isa.$(notdir $(@D))) -MMD -MP -c -o $@ $<

# (private: the stamp of the flags is made on the way to whichever object comes first)
$(B)/tests/%.o: private FEAT += -iquote tests
# An archive, so that a program takes only what it uses: fuzz targets are linked without cmocka.
$(SUPPORT): $(SUPOBJ)
	$(Q)rm -f $@ && $(CROSS)ar rcs $@ $(SUPOBJ)
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
$(B)/.list:  FORCE ; $(call keep,$(LIBOBJ) $(SERVEOBJ) $(EVENTLIBS) $(LDLIBS))

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
check-qemu:                         ## run the aarch64 tests under qemu as a Cortex-A76 (Raspberry Pi 5)
	@sh tools/deps.sh build test cross
	+@RUN='qemu-aarch64 -cpu cortex-a76' $(MAKE) $(ARM) test
oracle:                             ## rebuild the reference's answers and compare everything (Python, PyPI)
	@sh tools/deps.sh build test oracle
	+@$(MAKE) programs all
	@sh tests/oracle/run.sh
check-clients:                      ## OpenAI's and Anthropic's Python clients drive facet serve (Python, PyPI)
	@sh tools/deps.sh build oracle
	+@$(MAKE) all
	@sh tests/clients/run.sh
prove-llamacpp:                     ## files of llama.cpp in Facet and of Facet in llama.cpp (Python, PyPI, cmake)
	@sh tools/deps.sh build test oracle
	+@$(MAKE) programs all
	@sh tests/oracle/prove_llamacpp.sh
prove-plan: all                     ## facet plan against a real process with a full context: MODEL=FILE; writes tests/proofs/
	@MODEL='$(MODEL)' sh tests/proofs/prove_plan.sh
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
	printf '%s\n' 'Name: facet' 'Description: Gemma 4 inference' 'Version: $(shell sed -n 's,^.define FACET_VERSION "\(.*\)",\1,p' include/facet.h)' 'Requires.private: jansson' \
	    'Cflags: -I$(PREFIX)/include' 'Libs: -L$(PREFIX)/lib -lfacet -ljansson -lm -pthread' > $(DESTDIR)$(PREFIX)/lib/pkgconfig/facet.pc
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/facet lib/libfacet.a lib/pkgconfig/facet.pc include/facet.h $(if $(BUNDLED),share/facet/$(notdir $(BUNDLED))))

clean:                              ## remove everything that was built
	rm -rf build facet
help:                               ## this list
	@sed -n 's/^\([a-z][a-z -]*\):.*## /\1\t/p' Makefile | expand -t 18

.SECONDARY:
.PHONY: FORCE all deps run check lint programs test asan tsan debug clang fuzz fuzz-run cross check-qemu oracle \
        check-clients prove-llamacpp prove-plan prove-chroot bench bench-compare install uninstall clean help
-include $(shell find $(B)/src $(B)/tests -name '*.d' 2>/dev/null)
