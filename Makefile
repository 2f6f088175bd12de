# facet: GNU make 4.0+.  "make help" lists what you can ask for.
V      ?= 0
CONFIG ?= release
CC     ?= cc
ARCH   := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
B      := build/$(CONFIG)$(if $(filter-out $(shell uname -m),$(ARCH)),-$(ARCH))$(if $(findstring clang,$(CC)),-clang)

# ---- flags: one line per build flavour -------------------------------------
opt.release := -O3 -g
opt.debug   := -O0 -g
opt.asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
opt.tsan    := -O1 -g -fsanitize=thread
opt.fuzz    := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer
WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes
CFLAGS ?=
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Iinclude -iquote src $(WARN) $(opt.$(CONFIG)) \
             -ffp-contract=off -fno-math-errno -fvisibility=hidden $(FEAT) $(CFLAGS)
LDLIBS += -lm -pthread

# ---- instruction sets: the folder name picks the flags ----------------------
isas.x86_64  := avx2 avx512
isas.aarch64 := neon
isa.avx2   := -mavx2 -mfma -mf16c
isa.avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512vbmi -mfma -mf16c
isa.neon   := -march=armv8.2-a+dotprod+fp16

# ---- libraries ---------------------------------------------------------------
PKG_CONFIG ?= pkg-config
have = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes)
FEAT   += $(shell $(PKG_CONFIG) --cflags jansson 2>/dev/null)
LDLIBS += $(or $(shell $(PKG_CONFIG) --libs jansson 2>/dev/null),-ljansson)
ifeq ($(call have,libedit),yes)
FEAT += -DFC_HAVE_LIBEDIT $(shell $(PKG_CONFIG) --cflags libedit)
CMDLIBS += $(shell $(PKG_CONFIG) --libs libedit)
endif

# ---- sources: adding a file needs no edit here -------------------------------
KDIRS   := ref $(isas.$(ARCH))
SRCS    := $(wildcard src/*/*.c) $(foreach k,$(KDIRS),$(wildcard src/kern/$(k)/*.c))
FEAT    += $(foreach k,$(KDIRS),-DFC_KERN_$(k))
LIBSRC  := $(filter-out src/cmd/%,$(SRCS))
LIBOBJ  := $(LIBSRC:%.c=$(B)/%.o)
CMDOBJ  := $(patsubst %.c,$(B)/%.o,$(filter src/cmd/%,$(SRCS)))
TESTSRC := $(wildcard tests/unit/test_*.c tests/kern/check_*.c tests/fault/fault_*.c)
TESTS   := $(TESTSRC:%.c=$(B)/%)
FUZZSRC := $(wildcard tests/fuzz/fuzz_*.c)

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' $(1) $(2))

all: $(B)/facet                     ## build ./facet (default); installs nothing
ifeq ($(B),build/release)
	$(Q)cmp -s $(B)/facet facet || cp $(B)/facet facet
endif

$(B)/facet: $(CMDOBJ) $(B)/libfacet.a
	$(call say,LD,$@)
	$(Q)$(CC) $(opt.$(CONFIG)) $(LDFLAGS) -o $@ $^ $(CMDLIBS) $(LDLIBS)

# One relocatable object; only facet_* stays visible in the public archive, so short internal
# names cannot collide with another library in the same program.
$(B)/libfacet.a: $(LIBOBJ) $(B)/.list
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(LIBOBJ)

$(B)/%.o: %.c $(B)/.flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(isa.$(notdir $(@D))) -MMD -MP -c -o $@ $<

$(B)/tests/%: $(B)/tests/%.o $(B)/libfacet.a
	$(call say,LD,$@)
	$(Q)$(CC) $(opt.$(CONFIG)) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

# Two stamps: changed flags rebuild objects, a changed file list rebuilds the archive.
keep = @mkdir -p $(@D); printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' > $@
$(B)/.flags: FORCE ; $(call keep,$(CC) $(ALL_CFLAGS))
$(B)/.list:  FORCE ; $(call keep,$(LIBOBJ) $(LDLIBS))

tests: $(TESTS)
clean:                              ## remove build/
	rm -rf build facet
help:                               ## this list
	@sed -n 's/^\([a-z][a-z ]*\):.*## /\1\t/p' Makefile | expand -t 16

.SECONDARY:
.PHONY: FORCE all tests clean help
-include $(shell find $(B) -name '*.d' 2>/dev/null)
