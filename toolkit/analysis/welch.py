"""Power spectra of long series by averaging windowed segments, in bounded memory (Welch, IEEE Trans. AU-15, 70 (1967))."""

from __future__ import annotations

import numpy as np
from scipy.signal import periodogram

from toolkit.analysis.streaming import BlockSums
from toolkit.errors import DataError
from toolkit.units import PER_FS_CM1

MIN_SEGMENT = 16


class WelchSpectrum:
    """One-sided power spectra of C real series that arrive in chunks: Hann windows, segments that overlap by half.

    interval_fs : time between samples;  resolution_cm1 : 1 / (length of a segment), rounded
    The integral of a spectrum over the wavenumber is the mean square of its series.
    """

    def __init__(self, interval_fs: float, resolution_cm1: float) -> None:
        if not (interval_fs > 0.0 and resolution_cm1 > 0.0):
            raise DataError(f"found an interval of {interval_fs} fs and a resolution of {resolution_cm1} cm⁻¹, "
                            "expected positive values")
        self._interval = interval_fs
        self._length = max(MIN_SEGMENT, 2 * round(PER_FS_CM1 / (2.0 * resolution_cm1 * interval_fs)))
        self._rest: np.ndarray | None = None
        self._sums = BlockSums()

    @property
    def wavenumbers_cm1(self) -> np.ndarray:
        """(F,), from 0 to the Nyquist wavenumber, cm⁻¹."""
        return np.fft.rfftfreq(self._length, self._interval) * PER_FS_CM1

    @property
    def num_segments(self) -> int:
        """Segments averaged so far."""
        return self._sums.count

    def add(self, chunk: np.ndarray) -> None:
        """Go on with the next samples, (t, C), of the same series."""
        rest = chunk if self._rest is None else np.concatenate([self._rest, chunk])
        start, hop = 0, self._length // 2
        while start + self._length <= len(rest):
            _, power = periodogram(rest[start:start + self._length], PER_FS_CM1 / self._interval, window="hann",
                                   detrend=False, axis=0)
            self._sums.add(power.T, 1)
            start += hop
        self._rest = rest[start:]

    def new_series(self) -> None:
        """What comes next does not continue the series: another replica begins."""
        self._rest = None

    def mean(self) -> np.ndarray:
        """Average over all segments, (C, F), unit² cm. Raises DataError when no segment was complete."""
        self._require_segments()
        return self._sums.mean()

    def blocks(self) -> np.ndarray:
        """Averages over consecutive blocks of segments, (B, C, F), for error bars."""
        self._require_segments()
        return self._sums.blocks()

    def _require_segments(self) -> None:
        if not self.num_segments:
            need = self._length * self._interval / 1000.0
            raise DataError(f"found series shorter than {need:.3g} ps, the length of one segment at this resolution",
                            "run longer, or ask for a coarser resolution")
