/*
 * arch_x86_64.h - what the unwinder knows of this architecture; another one is another file like this.
 * Register numbers: System V ABI, AMD64 supplement, figure 3.36. Signal frame: Linux arch/x86/include/uapi/asm/sigcontext.h
 * and ucontext.h; after the handler returned, sp points at the ucontext.
 */
#ifndef TIDE_UNWIND_ARCH_X86_64_H
#define TIDE_UNWIND_ARCH_X86_64_H

#include <stdint.h>

#define TIDE_DWARF_BP 6u
#define TIDE_DWARF_SP 7u
#define TIDE_DWARF_RA 16u

/* Where the return address lies below the CFA. */
#define TIDE_RA_BELOW_CFA 8

/* Offsets in a ucontext: flags 8, link 8, stack 24, then r8-r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip. */
#define TIDE_UCONTEXT_BP (40 + 10 * 8)
#define TIDE_UCONTEXT_SP (40 + 15 * 8)
#define TIDE_UCONTEXT_PC (40 + 16 * 8)

/* State of the caller of a hook, at its return address: pc, sp, bp there. */
struct tide_regs {
	uintptr_t pc, sp, bp;
};

/* In a function that keeps a frame pointer; its frame begins with the caller's bp and the return address. */
#define TIDE_REGS_HERE()                                                                                        \
	((struct tide_regs){(uintptr_t)__builtin_return_address(0), (uintptr_t)__builtin_frame_address(0) + 16, \
			    *(const uintptr_t *)__builtin_frame_address(0)})

#endif
