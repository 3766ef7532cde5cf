"""What a server of a given minor version knows: fields, kinds, labels and the form of its messages."""

from __future__ import annotations

from dataclasses import dataclass

# First minor version in which the field is served with default settings (alpha fields are off, so they do not count).
_FIELD_SINCE: dict[str, dict[str, int]] = {
    "V1JobSpec": {
        "completionMode": 22,
        "suspend": 22,
        "ttlSecondsAfterFinished": 21,
        "podFailurePolicy": 26,
        "backoffLimitPerIndex": 29,
        "maxFailedIndexes": 29,
        "podReplacementPolicy": 29,
        "successPolicy": 31,
        "managedBy": 32,
        "scheduling": 99,
    },
    "V1JobStatus": {"completedIndexes": 22, "uncountedTerminatedPods": 23, "ready": 24, "failedIndexes": 29, "terminating": 29},
    "V1CronJobSpec": {"timeZone": 25},
    "V1PodSpec": {
        "os": 24,
        "setHostnameAsFQDN": 20,
        "hostUsers": 30,
        "schedulingGates": 27,
        "resourceClaims": 34,
        "resources": 34,
        "hostnameOverride": 35,
        "workloadRef": 99,
        "schedulingGroup": 99,
        "evictionResponders": 99,
    },
    "V1Container": {"resizePolicy": 33, "restartPolicy": 29, "restartPolicyRules": 35},
    "V1SecurityContext": {"appArmorProfile": 30},
    "V1PodSecurityContext": {"appArmorProfile": 30, "supplementalGroupsPolicy": 33, "seLinuxChangePolicy": 33},
    "V1ResourceRequirements": {"claims": 34},
    "V1VolumeMount": {"recursiveReadOnly": 31},
    "V1Volume": {"image": 33},
    "V1EnvVarSource": {"fileKeyRef": 35},
    "V1PersistentVolumeClaimSpec": {"dataSourceRef": 24, "volumeAttributesClassName": 34},
}  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """One minor version of Kubernetes 1."""

    minor: int
    patch: int = 2

    @classmethod
    def of(cls, version: str) -> Profile:
        major, minor = version.removeprefix("v").split(".")[:2]
        if major != "1" or not 16 <= int(minor) <= 60:
            raise ValueError(f"the fake server speaks 1.16 to 1.60, not {version}")
        return cls(int(minor))

    @property
    def git_version(self) -> str:
        return f"v1.{self.minor}.{self.patch}"

    def knows(self, model: str, field: str) -> bool:
        """Whether this version serves the field; those it does not know are dropped."""
        return self.minor >= _FIELD_SINCE.get(model, {}).get(field, 0)

    @property
    def batch_cronjobs(self) -> str:
        """The version of the batch group in which CronJobs are served."""
        return "v1" if self.minor >= 21 else "v1beta1"

    @property
    def indexed_jobs(self) -> bool:
        return self.minor >= 22

    @property
    def tracks_pods(self) -> bool:
        """Finished pods are counted once and for all, by a finalizer, instead of by what still exists."""
        return self.minor >= 26

    @property
    def prefixed_labels(self) -> bool:
        """Pods of Jobs carry `batch.kubernetes.io/job-name` and `-/controller-uid` beside the old names."""
        return self.minor >= 27

    @property
    def index_label(self) -> bool:
        return self.minor >= 28

    @property
    def late_terminal_conditions(self) -> bool:
        """SuccessCriteriaMet or FailureTarget first; Complete or Failed once no pod of the Job is left running."""
        return self.minor >= 31

    @property
    def tells_preemption(self) -> bool:
        return self.minor >= 24

    @property
    def field_validation(self) -> bool:
        """`fieldValidation=Strict` is honoured, and `Warn` (the default) warns of unknown fields."""
        return self.minor >= 25
