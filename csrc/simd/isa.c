#include "isa.h"

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
