"""The integrals behind every exponential integrator."""

from __future__ import annotations

import math
from collections.abc import Callable


def phi(k: int, z: float) -> float:
    """phi_k(z) = int_0^1 e^{z (1 - u)} u^{k-1} / (k-1)! du for k >= 1; phi_0 = e^z.

    So int_0^h e^{c (h - u)} u^n / n! du = h^{n+1} phi_{n+1}(c h).
    The recurrence phi_{k+1} = (phi_k - 1/k!) / z loses digits near 0; there the series is summed.
    Source: Hochbruck & Ostermann, Exponential integrators (2010).
    """
    if k == 0:
        return math.exp(z)
    if k == 1:
        return math.expm1(z) / z if z else 1.0
    if abs(z) < 1:
        term, total, m = 1 / math.factorial(k), 0.0, 0
        while abs(term) > 1e-18 * abs(total):
            total += term
            m += 1
            term *= z / (m + k)
        return total
    return (phi(k - 1, z) - 1 / math.factorial(k - 1)) / z


Moments = Callable[[float, float, int], list[float]]
"""moments(c, h, k): int_0^h e^{c (h - u)} (u/h)^n / n! du for n < k, or a substitute."""


def moments(c: float, h: float, k: int) -> list[float]:
    """The exact ones."""
    return [h * phi(n + 1, c * h) for n in range(k)]


def interpolation_weights(
    c: float, h: float, offsets: list[float], moments: Moments = moments
) -> list[float]:
    """w_j with sum_j w_j f(u_j) = int_0^h e^{c (h - u)} p(u) du, p the polynomial through f(u_j).

    `offsets` are the u_j: lambda of the evaluations less lambda at the step's start. The
    polynomial's degree is one less than their number: with u = 0 among them this is the Taylor
    expansion with derivatives from other evaluations (and exact for polynomials of that degree).
    A published solver that departs from it does so in its moments alone.
    """
    k = len(offsets)
    r = [offset / h for offset in offsets]
    w = [math.factorial(n) * moment for n, moment in enumerate(moments(c, h, k))]
    # sum_j w_j r_j^n = w_n: a Vandermonde system, by Bjorck & Pereyra (1970), in place.
    for n in range(k - 1):
        for j in range(k - 1, n, -1):
            w[j] -= r[n] * w[j - 1]
    for n in range(k - 2, -1, -1):
        for j in range(n + 1, k):
            w[j] /= r[j] - r[j - n - 1]
        for j in range(n, k - 1):
            w[j] -= w[j + 1]
    return w
