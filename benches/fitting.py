"""How many spectra a core fits in a second: ours and others, on the same spectra, in one run.

    pip install numba scipy lmfit numpy
    python benches/fitting.py

Ours is `cargo bench -p pipe-stages --bench fitting`, which also writes the spectra. Everything runs on one thread, and
what counts is its time on a processor, so that what else the machine does matters little; of several rounds the fastest.

- numba LM: Levenberg and Marquardt with the analytic Jacobian, compiled, all in float64.
- scipy curve_fit: MINPACK's, with the analytic Jacobian.
- lmfit: the same model through lmfit's `minimize`.
- numba search: components added at the residual's maximum, all of them fitted again by numba LM after each, as long as
  the Bayesian information criterion falls.

Each program's mean χ² per spectrum stands beside its speed: a fit that ends early is no fast fit.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[threads] = "1"

import lmfit
import numba
import numpy as np
from scipy.optimize import curve_fit

ROUNDS = 3


@numba.njit(cache=False)
def model_and_jacobian(x, p, model, jacobian):
    model[:] = 0.0
    for k in range(0, p.size, 3):
        a, m, s = p[k], p[k + 1], p[k + 2]
        for i in range(x.size):
            u = (x[i] - m) / s
            e = np.exp(-0.5 * u * u)
            model[i] += a * e
            jacobian[i, k] = e
            jacobian[i, k + 1] = a * e * u / s
            jacobian[i, k + 2] = a * e * u * u / s


@numba.njit(cache=False)
def solve(matrix, vector):
    """Solves a positive definite system by Cholesky's factors, in place; tells whether it is one."""
    n = vector.size
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                if total <= 0.0:
                    return False
                matrix[i, i] = np.sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(n):
        total = vector[i]
        for k in range(i):
            total -= matrix[i, k] * vector[k]
        vector[i] = total / matrix[i, i]
    for i in range(n - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, n):
            total -= matrix[k, i] * vector[k]
        vector[i] = total / matrix[i, i]
    return True


@numba.njit(cache=False)
def least_squares(x, y, start, rounds):
    """Levenberg and Marquardt. Gives the parameters and the sum of squares."""
    n = start.size
    p = start.copy()
    trial = np.empty(n)
    model, other = np.empty(x.size), np.empty(x.size)
    jacobian, other_jacobian = np.empty((x.size, n)), np.empty((x.size, n))
    model_and_jacobian(x, p, model, jacobian)
    squares = np.sum((y - model) ** 2)
    damping = 1e-3
    normal, gradient = np.empty((n, n)), np.empty(n)
    damped, step = np.empty((n, n)), np.empty(n)
    for _ in range(rounds):
        for a in range(n):
            total = 0.0
            for i in range(x.size):
                total += jacobian[i, a] * (y[i] - model[i])
            gradient[a] = total
            for b in range(a + 1):
                total = 0.0
                for i in range(x.size):
                    total += jacobian[i, a] * jacobian[i, b]
                normal[a, b] = total
                normal[b, a] = total
        better = False
        for _ in range(8):
            damped[:] = normal
            step[:] = gradient
            for a in range(n):
                damped[a, a] *= 1.0 + damping
            if solve(damped, step):
                fine = True
                for a in range(n):
                    trial[a] = p[a] + step[a]
                    if a % 3 == 2 and trial[a] <= 0.0:
                        fine = False
                if fine:
                    model_and_jacobian(x, trial, other, other_jacobian)
                    found = np.sum((y - other) ** 2)
                    if found < squares:
                        better = True
                        break
            damping *= 10.0
        if not better:
            break
        gain = squares - found
        p[:] = trial
        model, other = other, model
        jacobian, other_jacobian = other_jacobian, jacobian
        squares = found
        damping = max(damping * 0.1, 1e-9)
        if gain < 1e-5 * squares / x.size:
            break
    return p, squares


@numba.njit(cache=False)
def search(x, y, most):
    """Components added as long as the information criterion falls. `y` is in units of the noise."""
    n = x.size
    best = np.empty(0)
    squares = np.sum(y**2)
    model, jacobian = np.empty(n), np.empty((n, 3 * most))
    for count in range(1, most + 1):
        model_and_jacobian(x, best, model, jacobian)
        residual = y - model
        start, least = np.empty(0), np.inf
        for sigma in (1.5, 4.0, 9.0):
            # The maximum of the residual, smoothed as wide as the component that is looked for.
            half = int(2.0 * sigma)
            top, at = 0.0, -1
            for i in range(n):
                total, weight = 0.0, 0.0
                for j in range(max(0, i - half), min(n, i + half + 1)):
                    kernel = np.exp(-0.5 * ((j - i) / sigma) ** 2)
                    total += kernel * residual[j]
                    weight += kernel * kernel
                value = total / np.sqrt(weight)
                if value > top:
                    top, at = value, i
            if at < 0:
                continue
            trial = np.empty(best.size + 3)
            trial[: best.size] = best
            trial[best.size] = max(residual[at], 1.0)
            trial[best.size + 1] = x[at]
            trial[best.size + 2] = sigma
            p, found = least_squares(x, y, trial, 50)
            if found < least:
                least, start = found, p
        if start.size == 0 or least + 3 * np.log(n) >= squares:
            break
        best, squares = start, least
    return best, squares


def rate(rows, fit):
    """Spectra a second, and the mean χ² of a spectrum."""
    fit(rows[0])
    fastest = np.inf
    for _ in range(ROUNDS):
        began = time.thread_time()
        squares = [fit(row) for row in rows]
        fastest = min(fastest, time.thread_time() - began)
    return len(rows) / fastest, float(np.mean(squares))


def read(path):
    with open(path) as file:
        field = json.load(file)
    axis = field["axis"]
    channels = np.arange(axis["channels"], dtype=float)
    rows = []
    for row in field["spectra"]:
        def in_channels(components, rms=row["rms"]):
            p = np.array(components, dtype=float).reshape(-1, 3)
            p[:, 0] /= rms
            p[:, 1] = (p[:, 1] - axis["start"]) / axis["step"]
            p[:, 2] /= axis["step"]
            return p.ravel()
        y = np.array(row["values"], dtype=np.float32).astype(float) / row["rms"]
        rows.append((channels, y, in_channels(row["starts"])))
    return rows


def by_numba(row):
    return least_squares(*row, 50)[1]


def by_scipy(row):
    x, y, start = row
    model, jacobian = np.empty(x.size), np.empty((x.size, start.size))

    def values(_, *p):
        model_and_jacobian(x, np.array(p), model, jacobian)
        return model.copy()

    def derivatives(_, *p):
        model_and_jacobian(x, np.array(p), model, jacobian)
        return jacobian.copy()

    p, _ = curve_fit(values, x, y, start, jac=derivatives)
    return float(np.sum((y - values(x, *p)) ** 2))


def by_lmfit(row):
    x, y, start = row
    parameters = lmfit.Parameters()
    for i, value in enumerate(start):
        parameters.add(f"p{i}", value=value)
    model, jacobian = np.empty(x.size), np.empty((x.size, start.size))

    def residual(parameters):
        model_and_jacobian(x, np.array(list(parameters.valuesdict().values())), model, jacobian)
        return model - y

    return lmfit.minimize(residual, parameters).chisqr


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as folder:
        bench = ["cargo", "bench", "--quiet", "-p", "pipe-stages", "--bench", "fitting", "--", folder]
        subprocess.run(bench, cwd=root, check=True, stdout=sys.stderr)
        with open(os.path.join(folder, "rates.json")) as file:
            ours = json.load(file)
        lines, survey = (read(os.path.join(folder, f"{name}.json")) for name in ("lines", "survey"))
    print("| work | program | spectra a second and core | χ² | ours is faster by |")
    print("| --- | --- | --- | --- | --- |")
    parts = [
        ("one fit at the true number, 140 channels", "known", [
            ("numba LM", lines, by_numba),
            ("scipy curve_fit", lines[:1000], by_scipy),
            ("lmfit", lines[:300], by_lmfit),
        ]),
        ("0 to 2 components from nothing, 140 channels", "blind", [
            ("numba search", lines, lambda row: search(row[0], row[1], 2)[1]),
        ]),
        ("0 to 6 components from nothing, 424 channels", "survey", [
            ("numba search", survey, lambda row: search(row[0], row[1], 6)[1]),
        ]),
    ]
    for work, name, others in parts:
        print(f"| {work} | ours | {ours[name]:.0f} | {ours[name + '_chi_squared']:.1f} | |")
        for program, rows, fit in others:
            speed, squares = rate(rows, fit)
            print(f"| | {program} | {speed:.0f} | {squares:.1f} | {ours[name] / speed:.1f} |", flush=True)


if __name__ == "__main__":
    main()
