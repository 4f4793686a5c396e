"""Every law by its name.  A new one is a `Law` in one of these files and an entry here; every fit takes it.

L loss in nats per token, N parameters, D tokens, C FLOPs.  Which parameters N counts is the caller's choice and changes
the exponents (Porian et al. 2024, Pearce & Song 2024), so every report states it.
"""

from scaling.laws import curves, downstream, efficiency, kaplan, regimes
from scaling.laws.api import Law, Param, Params
from scaling.laws.bounded import bounded
from scaling.laws.hoffmann import G, a, b, chinchilla, compute_for_loss, d_opt, l_opt, n_opt
from scaling.laws.means import power_mean

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        chinchilla,
        kaplan.kaplan_nd,
        kaplan.kaplan_n,
        kaplan.kaplan_d,
        kaplan.kaplan_c,
        kaplan.kaplan_c_min,
        kaplan.kaplan_ns,
        kaplan.b_crit,
        kaplan.henighan_n,
        kaplan.henighan_d,
        kaplan.henighan_c,
        curves.compute,
        regimes.constrained,
        regimes.overtrained,
        regimes.farseer,
        regimes.precision,
        regimes.quantised,
        regimes.lr_step,
        regimes.batch_step,
        curves.m1,
        curves.m2,
        curves.m3,
        curves.m4,
        curves.bnsl,
        curves.bnsl2,
        downstream.error,
        downstream.accuracy,
        power_mean,
        bounded,
        efficiency.efficiency,
    )
}

# N_opt ~ C^a and D_opt ~ C^b as published: Kaplan et al. 2020 (section 6.1), Hoffmann et al. 2022 (approaches 1 to 3).
PUBLISHED = {
    "Kaplan et al. 2020": {"a": 0.73, "b": 0.27},
    "Hoffmann et al. 2022, approaches 1 and 2": {"a": 0.50, "b": 0.50},
    "Hoffmann et al. 2022, approach 3": {"a": 0.46, "b": 0.54},
}

__all__ = [
    "LAWS", "PUBLISHED", "G", "Law", "Param", "Params", "a", "b", "chinchilla", "compute_for_loss", "d_opt", "l_opt",
    "n_opt",
]  # fmt: skip
