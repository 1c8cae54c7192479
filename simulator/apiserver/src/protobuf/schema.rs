//! Field numbers of the kinds that kubectl sends as protobuf: those of `kubectl create KIND`
//! and of `DeleteOptions`.
//!
//! Taken from the `generated.proto` files of Kubernetes, where numbers never change their
//! meaning. Only what those commands can say is here: a field that is missing is skipped, as
//! every reader of protobuf skips what it does not know.
//! <https://github.com/kubernetes/api/blob/master/core/v1/generated.proto>

/// A message: its fields by number.
pub(super) struct Message(pub(super) &'static [Field]);

/// One field of a message.
pub(super) struct Field {
    pub(super) number: u64,
    /// Name in JSON; empty where the content is lifted one level.
    pub(super) name: &'static str,
    pub(super) type_: Type,
}

/// What a field holds, and how it reads in JSON.
#[derive(Clone, Copy)]
pub(super) enum Type {
    /// Text; always written, so empty is absent.
    Text,
    /// Text, any number of times; empty ones count.
    Texts,
    /// A map of texts.
    TextMap,
    /// A map of bytes, base64 in JSON.
    BytesMap,
    /// A map of quantities.
    QuantityMap,
    /// A number that is always written, so 0 is absent.
    Number,
    /// A number that is written where it is set, so 0 counts.
    OptionalNumber,
    /// Numbers.
    Numbers,
    /// A boolean that is always written, so false is absent.
    Flag,
    /// A boolean that is written where it is set.
    OptionalFlag,
    /// A moment.
    Time,
    /// An amount.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// A message; an empty one is absent.
    One(&'static Message),
    /// A message whose presence says something even where it is empty.
    Present(&'static Message),
    /// Messages.
    Many(&'static Message),
}

use Type::{
    BytesMap, Flag, IntOrString, Many, Number, Numbers, One, OptionalFlag, OptionalNumber, Present,
    Quantity, QuantityMap, Text, TextMap, Texts, Time,
};

const fn field(number: u64, name: &'static str, type_: Type) -> Field {
    Field {
        number,
        name,
        type_,
    }
}

/// The message of a kind; `None` where kubectl is not known to send it.
pub(super) fn message(api_version: &str, kind: &str) -> Option<&'static Message> {
    let message = match (api_version, kind) {
        (_, "DeleteOptions") => &DELETE_OPTIONS,
        ("v1", "Namespace") => &NAMESPACE,
        ("v1", "ConfigMap") => &CONFIG_MAP,
        ("v1", "Secret") => &SECRET,
        ("v1", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("v1", "Service") => &SERVICE,
        ("v1", "Pod") => &POD,
        ("apps/v1", "Deployment") => &DEPLOYMENT,
        ("autoscaling/v1", "HorizontalPodAutoscaler") => &AUTOSCALER_V1,
        ("autoscaling/v2", "HorizontalPodAutoscaler") => &AUTOSCALER_V2,
        ("batch/v1", "Job") => &JOB,
        ("networking.k8s.io/v1", "Ingress") => &INGRESS,
        _ => return None,
    };
    Some(message)
}

static OWNER_REFERENCE: Message = Message(&[
    field(1, "kind", Text),
    field(3, "name", Text),
    field(4, "uid", Text),
    field(5, "apiVersion", Text),
    field(6, "controller", OptionalFlag),
    field(7, "blockOwnerDeletion", OptionalFlag),
]);

static OBJECT_META: Message = Message(&[
    field(1, "name", Text),
    field(2, "generateName", Text),
    field(3, "namespace", Text),
    field(5, "uid", Text),
    field(6, "resourceVersion", Text),
    field(7, "generation", Number),
    field(8, "creationTimestamp", Time),
    field(11, "labels", TextMap),
    field(12, "annotations", TextMap),
    field(13, "ownerReferences", Many(&OWNER_REFERENCE)),
    field(14, "finalizers", Texts),
]);

static DELETE_OPTIONS: Message = Message(&[
    field(1, "gracePeriodSeconds", OptionalNumber),
    field(
        2,
        "preconditions",
        One(&Message(&[
            field(1, "uid", Text),
            field(2, "resourceVersion", Text),
        ])),
    ),
    field(3, "orphanDependents", OptionalFlag),
    field(4, "propagationPolicy", Text),
    field(5, "dryRun", Texts),
]);

// The specs and statuses of kinds whose authors set nothing there.
static NAMESPACE: Message = Message(&[field(1, "metadata", One(&OBJECT_META))]);

static CONFIG_MAP: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(2, "data", TextMap),
    field(3, "binaryData", BytesMap),
    field(4, "immutable", OptionalFlag),
]);

static SECRET: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(2, "data", BytesMap),
    field(3, "type", Text),
    field(4, "stringData", TextMap),
    field(5, "immutable", OptionalFlag),
]);

static LOCAL_REFERENCE: Message = Message(&[field(1, "name", Text)]);

static SERVICE_ACCOUNT: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(2, "secrets", Many(&Message(&[field(3, "name", Text)]))),
    field(3, "imagePullSecrets", Many(&LOCAL_REFERENCE)),
]);

static SERVICE_PORT: Message = Message(&[
    field(1, "name", Text),
    field(2, "protocol", Text),
    field(3, "port", Number),
    field(4, "targetPort", IntOrString),
    field(5, "nodePort", Number),
    field(6, "appProtocol", Text),
]);

static SERVICE: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(
        2,
        "spec",
        One(&Message(&[
            field(1, "ports", Many(&SERVICE_PORT)),
            field(2, "selector", TextMap),
            field(3, "clusterIP", Text),
            field(4, "type", Text),
            field(5, "externalIPs", Texts),
            field(7, "sessionAffinity", Text),
            field(10, "externalName", Text),
            field(18, "clusterIPs", Texts),
        ])),
    ),
]);

static LABEL_SELECTOR: Message = Message(&[
    field(1, "matchLabels", TextMap),
    field(
        2,
        "matchExpressions",
        Many(&Message(&[
            field(1, "key", Text),
            field(2, "operator", Text),
            field(3, "values", Texts),
        ])),
    ),
]);

static SCALE_TARGET: Message = Message(&[
    field(1, "kind", Text),
    field(2, "name", Text),
    field(3, "apiVersion", Text),
]);

/// What `kubectl autoscale` sends until 1.32.
static AUTOSCALER_V1: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(
        2,
        "spec",
        One(&Message(&[
            field(1, "scaleTargetRef", One(&SCALE_TARGET)),
            field(2, "minReplicas", OptionalNumber),
            field(3, "maxReplicas", Number),
            field(4, "targetCPUUtilizationPercentage", OptionalNumber),
        ])),
    ),
]);

/// What it sends since: resource metrics only.
static AUTOSCALER_V2: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(
        2,
        "spec",
        One(&Message(&[
            field(1, "scaleTargetRef", One(&SCALE_TARGET)),
            field(2, "minReplicas", OptionalNumber),
            field(3, "maxReplicas", Number),
            field(4, "metrics", Many(&METRIC_SPEC)),
        ])),
    ),
]);

static METRIC_SPEC: Message = Message(&[
    field(1, "type", Text),
    field(
        4,
        "resource",
        One(&Message(&[
            field(1, "name", Text),
            field(
                2,
                "target",
                One(&Message(&[
                    field(1, "type", Text),
                    field(2, "value", Quantity),
                    field(3, "averageValue", Quantity),
                    field(4, "averageUtilization", OptionalNumber),
                ])),
            ),
        ])),
    ),
]);

static DEPLOYMENT: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(2, "spec", One(&DEPLOYMENT_SPEC)),
]);

static DEPLOYMENT_SPEC: Message = Message(&[
    field(1, "replicas", OptionalNumber),
    field(2, "selector", One(&LABEL_SELECTOR)),
    field(3, "template", One(&POD)),
    field(
        4,
        "strategy",
        One(&Message(&[
            field(1, "type", Text),
            field(
                2,
                "rollingUpdate",
                One(&Message(&[
                    field(1, "maxUnavailable", IntOrString),
                    field(2, "maxSurge", IntOrString),
                ])),
            ),
        ])),
    ),
    field(5, "minReadySeconds", Number),
    field(6, "revisionHistoryLimit", OptionalNumber),
    field(7, "paused", Flag),
    field(9, "progressDeadlineSeconds", OptionalNumber),
]);

static JOB: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(
        2,
        "spec",
        One(&Message(&[
            field(1, "parallelism", OptionalNumber),
            field(2, "completions", OptionalNumber),
            field(3, "activeDeadlineSeconds", OptionalNumber),
            field(6, "template", One(&POD)),
            field(7, "backoffLimit", OptionalNumber),
            field(8, "ttlSecondsAfterFinished", OptionalNumber),
            field(10, "suspend", OptionalFlag),
        ])),
    ),
]);

static INGRESS: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(
        2,
        "spec",
        One(&Message(&[
            field(1, "defaultBackend", One(&INGRESS_BACKEND)),
            field(
                2,
                "tls",
                Many(&Message(&[
                    field(1, "hosts", Texts),
                    field(2, "secretName", Text),
                ])),
            ),
            field(
                3,
                "rules",
                Many(&Message(&[
                    field(1, "host", Text),
                    field(2, "", One(&INGRESS_RULE)),
                ])),
            ),
            field(4, "ingressClassName", Text),
        ])),
    ),
]);

static INGRESS_RULE: Message = Message(&[field(
    1,
    "http",
    One(&Message(&[field(
        1,
        "paths",
        Many(&Message(&[
            field(1, "path", Text),
            field(2, "backend", One(&INGRESS_BACKEND)),
            field(3, "pathType", Text),
        ])),
    )])),
)]);

static INGRESS_BACKEND: Message = Message(&[field(
    4,
    "service",
    One(&Message(&[
        field(1, "name", Text),
        field(
            2,
            "port",
            One(&Message(&[
                field(1, "name", Text),
                field(2, "number", Number),
            ])),
        ),
    ])),
)]);

/// A pod and a pod template have the same first two fields.
static POD: Message = Message(&[
    field(1, "metadata", One(&OBJECT_META)),
    field(2, "spec", One(&POD_SPEC)),
]);

static POD_SPEC: Message = Message(&[
    field(1, "volumes", Many(&VOLUME)),
    field(2, "containers", Many(&CONTAINER)),
    field(3, "restartPolicy", Text),
    field(4, "terminationGracePeriodSeconds", OptionalNumber),
    field(5, "activeDeadlineSeconds", OptionalNumber),
    field(6, "dnsPolicy", Text),
    field(7, "nodeSelector", TextMap),
    field(8, "serviceAccountName", Text),
    field(10, "nodeName", Text),
    field(11, "hostNetwork", Flag),
    field(12, "hostPID", Flag),
    field(13, "hostIPC", Flag),
    field(14, "securityContext", Present(&POD_SECURITY_CONTEXT)),
    field(15, "imagePullSecrets", Many(&LOCAL_REFERENCE)),
    field(19, "schedulerName", Text),
    field(20, "initContainers", Many(&CONTAINER)),
    field(
        22,
        "tolerations",
        Many(&Message(&[
            field(1, "key", Text),
            field(2, "operator", Text),
            field(3, "value", Text),
            field(4, "effect", Text),
            field(5, "tolerationSeconds", OptionalNumber),
        ])),
    ),
    field(24, "priorityClassName", Text),
]);

static POD_SECURITY_CONTEXT: Message = Message(&[
    field(2, "runAsUser", OptionalNumber),
    field(3, "runAsNonRoot", OptionalFlag),
    field(4, "supplementalGroups", Numbers),
    field(5, "fsGroup", OptionalNumber),
    field(6, "runAsGroup", OptionalNumber),
]);

static CONTAINER: Message = Message(&[
    field(1, "name", Text),
    field(2, "image", Text),
    field(3, "command", Texts),
    field(4, "args", Texts),
    field(5, "workingDir", Text),
    field(
        6,
        "ports",
        Many(&Message(&[
            field(1, "name", Text),
            field(2, "hostPort", Number),
            field(3, "containerPort", Number),
            field(4, "protocol", Text),
            field(5, "hostIP", Text),
        ])),
    ),
    field(7, "env", Many(&ENV_VAR)),
    field(
        8,
        "resources",
        One(&Message(&[
            field(1, "limits", QuantityMap),
            field(2, "requests", QuantityMap),
        ])),
    ),
    field(
        9,
        "volumeMounts",
        Many(&Message(&[
            field(1, "name", Text),
            field(2, "readOnly", Flag),
            field(3, "mountPath", Text),
            field(4, "subPath", Text),
        ])),
    ),
    field(10, "livenessProbe", One(&PROBE)),
    field(11, "readinessProbe", One(&PROBE)),
    field(13, "terminationMessagePath", Text),
    field(14, "imagePullPolicy", Text),
    field(15, "securityContext", Present(&SECURITY_CONTEXT)),
    field(16, "stdin", Flag),
    field(17, "stdinOnce", Flag),
    field(18, "tty", Flag),
    field(19, "envFrom", Many(&ENV_FROM)),
    field(20, "terminationMessagePolicy", Text),
    field(22, "startupProbe", One(&PROBE)),
    field(24, "restartPolicy", Text),
]);

static SECURITY_CONTEXT: Message = Message(&[
    field(
        1,
        "capabilities",
        One(&Message(&[field(1, "add", Texts), field(2, "drop", Texts)])),
    ),
    field(2, "privileged", OptionalFlag),
    field(4, "runAsUser", OptionalNumber),
    field(5, "runAsNonRoot", OptionalFlag),
    field(6, "readOnlyRootFilesystem", OptionalFlag),
    field(7, "allowPrivilegeEscalation", OptionalFlag),
    field(8, "runAsGroup", OptionalNumber),
]);

static KEY_REFERENCE: Message = Message(&[
    field(1, "", One(&LOCAL_REFERENCE)),
    field(2, "key", Text),
    field(3, "optional", OptionalFlag),
]);

static ENV_VAR: Message = Message(&[
    field(1, "name", Text),
    field(2, "value", Text),
    field(
        3,
        "valueFrom",
        One(&Message(&[
            field(
                1,
                "fieldRef",
                One(&Message(&[
                    field(1, "apiVersion", Text),
                    field(2, "fieldPath", Text),
                ])),
            ),
            field(
                2,
                "resourceFieldRef",
                One(&Message(&[
                    field(1, "containerName", Text),
                    field(2, "resource", Text),
                    field(3, "divisor", Quantity),
                ])),
            ),
            field(3, "configMapKeyRef", One(&KEY_REFERENCE)),
            field(4, "secretKeyRef", One(&KEY_REFERENCE)),
        ])),
    ),
]);

static ENV_FROM_REFERENCE: Message = Message(&[
    field(1, "", One(&LOCAL_REFERENCE)),
    field(2, "optional", OptionalFlag),
]);

static ENV_FROM: Message = Message(&[
    field(1, "prefix", Text),
    field(2, "configMapRef", One(&ENV_FROM_REFERENCE)),
    field(3, "secretRef", One(&ENV_FROM_REFERENCE)),
]);

static PROBE: Message = Message(&[
    field(1, "", One(&PROBE_HANDLER)),
    field(2, "initialDelaySeconds", Number),
    field(3, "timeoutSeconds", Number),
    field(4, "periodSeconds", Number),
    field(5, "successThreshold", Number),
    field(6, "failureThreshold", Number),
    field(7, "terminationGracePeriodSeconds", OptionalNumber),
]);

static PROBE_HANDLER: Message = Message(&[
    field(1, "exec", One(&Message(&[field(1, "command", Texts)]))),
    field(
        2,
        "httpGet",
        One(&Message(&[
            field(1, "path", Text),
            field(2, "port", IntOrString),
            field(3, "host", Text),
            field(4, "scheme", Text),
            field(
                5,
                "httpHeaders",
                Many(&Message(&[field(1, "name", Text), field(2, "value", Text)])),
            ),
        ])),
    ),
    field(
        3,
        "tcpSocket",
        One(&Message(&[
            field(1, "port", IntOrString),
            field(2, "host", Text),
        ])),
    ),
    field(
        4,
        "grpc",
        One(&Message(&[
            field(1, "port", Number),
            field(2, "service", Text),
        ])),
    ),
]);

static KEY_TO_PATH: Message = Message(&[
    field(1, "key", Text),
    field(2, "path", Text),
    field(3, "mode", OptionalNumber),
]);

static VOLUME: Message = Message(&[field(1, "name", Text), field(2, "", One(&VOLUME_SOURCE))]);

static VOLUME_SOURCE: Message = Message(&[
    field(
        1,
        "hostPath",
        One(&Message(&[field(1, "path", Text), field(2, "type", Text)])),
    ),
    field(
        2,
        "emptyDir",
        Present(&Message(&[
            field(1, "medium", Text),
            field(2, "sizeLimit", Quantity),
        ])),
    ),
    field(
        6,
        "secret",
        One(&Message(&[
            field(1, "secretName", Text),
            field(2, "items", Many(&KEY_TO_PATH)),
            field(3, "defaultMode", OptionalNumber),
            field(4, "optional", OptionalFlag),
        ])),
    ),
    field(
        10,
        "persistentVolumeClaim",
        One(&Message(&[
            field(1, "claimName", Text),
            field(2, "readOnly", Flag),
        ])),
    ),
    field(
        19,
        "configMap",
        One(&Message(&[
            field(1, "", One(&LOCAL_REFERENCE)),
            field(2, "items", Many(&KEY_TO_PATH)),
            field(3, "defaultMode", OptionalNumber),
            field(4, "optional", OptionalFlag),
        ])),
    ),
]);
