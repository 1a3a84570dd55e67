#include "isa.h"

#include <string.h>

#ifdef FASTCONV_X86_SETS
#include <cpuid.h>
#endif

extern const Kernels kernels_f32_baseline, kernels_f64_baseline;

static int always(void) { return 1; }

#ifdef FASTCONV_X86_SETS

extern const Kernels kernels_f32_avx2, kernels_f64_avx2, kernels_f32_avx512, kernels_f64_avx512;

static int avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int avx512(void)
{
    return avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

#endif

static const Isa sets[] = {
    {"baseline", &kernels_f32_baseline, &kernels_f64_baseline, always},
#ifdef FASTCONV_X86_SETS
    {"avx2", &kernels_f32_avx2, &kernels_f64_avx2, avx2},
    {"avx512", &kernels_f32_avx512, &kernels_f64_avx512, avx512},
#endif
};

int isa_count(void) { return (int)(sizeof sets / sizeof *sets); }

const Isa *isa_get(int i) { return &sets[i]; }

int isa_processor(char vendor[13])
{
    vendor[0] = vendor[12] = 0;
#ifdef FASTCONV_X86_SETS
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx))
        return 0;
    memcpy(vendor, &ebx, 4);
    memcpy(vendor + 4, &edx, 4);
    memcpy(vendor + 8, &ecx, 4);
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        return 0;
    const int family = eax >> 8 & 15;
    return family == 15 ? family + (int)(eax >> 20 & 255) : family;
#else
    return 0;
#endif
}
