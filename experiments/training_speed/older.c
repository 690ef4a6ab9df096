/* A process in which CPUID tells of no AVX-512 and no AMX, whoever asks.

   Command: cc -O2 -shared -fPIC -o older.so older.c && LD_PRELOAD=./older.so python training_speed.py
   (Linux on an x86-64 processor with `cpuid_fault` in /proc/cpuinfo)

   CPUID faults in this process and its threads; the fault's handler asks the processor and leaves
   out what an older one has not. Children that start another program begin anew, by LD_PRELOAD. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static void instruction_allowed(int yes) {
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, yes)) {
        perror("this processor or kernel cannot catch CPUID");
        _exit(2);
    }
}

static void answer(int signal_number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned char *at = (unsigned char *)registers[REG_RIP];
    if (at[0] != 0x0f || at[1] != 0xa2) { /* no CPUID: a fault as any other */
        signal(SIGSEGV, SIG_DFL);
        return;
    }
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    instruction_allowed(1);
    __cpuid_count(leaf, part, a, b, c, d);
    instruction_allowed(0);
    if (leaf == 7 && part == 0) {
        b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
        c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
        d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);
    } else if (leaf == 7 && part == 1) {
        a &= ~(1u << 4 | 1u << 5 | 1u << 21);
    } else if (leaf == 0xd && part == 0) {
        a &= ~(7u << 5 | 3u << 17);
    } else if (leaf == 0x1d || leaf == 0x1e) {
        a = b = c = d = 0;
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void catch_cpuid(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    instruction_allowed(0);
}
