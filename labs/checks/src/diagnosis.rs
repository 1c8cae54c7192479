//! Every cause that a check can name, with what to look at next.
//!
//! Ids are stable: hints (`when:`), mistakes of labs and saved results refer to them.

mod kinds;

/// Id of the variant that stands for what labs word themselves; no cause is known by it.
const AUTHORED: &str = "authored";

messages! {
    /// The likeliest cause of a check that does not hold, or the reason why it could not run.
    pub enum Diagnosis {
        // One of the lab's own (`causes:`), known by an id that the lab gave it.
        Authored "authored" { id, en, fr, look }
        en: "{en}",
        fr: "{fr}",
        look: "{look}",
        named: id;

        // Objects.
        Missing "missing" { kind, plural, name, namespace }
        en: "there is no {kind} {name} in namespace {namespace}",
        fr: "il n’y a pas de {kind} {name} dans le namespace {namespace}",
        look: "kubectl get {plural} --all-namespaces";

        NamedOtherwise "named-otherwise" { kind, plural, name, namespace, present }
        en: "there is no {kind} {name} in namespace {namespace}, but there is: {present}",
        fr: "il n’y a pas de {kind} {name} dans le namespace {namespace}, mais il y a : {present}",
        look: "kubectl get {plural} -n {namespace}";

        InAnotherNamespace "in-another-namespace" { kind, plural, name, namespace, found }
        en: "{kind} {name} is in namespace {found} instead of {namespace}",
        fr: "{kind} {name} se trouve dans le namespace {found} au lieu de {namespace}",
        look: "kubectl get {plural} {name} -n {found}";

        ExpressionFalse "expression-false" { kind, plural, which, condition, values }
        en: "{kind} {which} is not as asked for: {condition} does not hold ({values})",
        fr: "{kind} {which} n’est pas comme demandé : {condition} n’est pas vrai ({values})",
        look: "kubectl get {plural} {which} -o yaml";

        TooFewObjects "too-few-objects" { kind, plural, which, expected, found }
        en: "too few objects {kind} {which} are as asked for: {found} of {expected}",
        fr: "trop peu d’objets {kind} {which} sont comme demandé : {found} sur {expected}",
        look: "kubectl get {plural} {which} -o yaml";

        // Nodes.
        TooFewNodes "too-few-nodes" { expected, found }
        en: "the cluster has too few nodes: {found} of {expected}",
        fr: "le cluster a trop peu de nœuds : {found} sur {expected}",
        look: "devops-lab status";

        NodesNotReady "nodes-not-ready" { nodes }
        en: "not Ready: {nodes}",
        fr: "pas à l’état Ready : {nodes}",
        look: "kubectl get nodes";

        NodesCordoned "nodes-cordoned" { nodes }
        en: "no new pod may go to {nodes}: scheduling is disabled there (kubectl uncordon allows it again)",
        fr: "aucun nouveau pod ne peut aller sur {nodes} : la planification y est désactivée (kubectl uncordon la rétablit)",
        look: "kubectl get nodes";

        // Deployments.
        WrongImage "wrong-image" { kind, plural, name, expected, found }
        en: "{kind} {name} asks for image {found} instead of {expected}",
        fr: "le {kind} {name} demande l’image {found} au lieu de {expected}",
        look: "kubectl get {plural} {name} -o wide";

        TooFewReplicas "too-few-replicas" { deployment, expected, found }
        en: "Deployment {deployment} asks for too few replicas: {found} of {expected} (spec.replicas)",
        fr: "le Deployment {deployment} demande trop peu de répliques : {found} sur {expected} (spec.replicas)",
        look: "kubectl get deployment {deployment}";

        RolloutPaused "rollout-paused" { deployment }
        en: "the rollout of {deployment} is paused, so the present template is not carried out (kubectl rollout resume goes on)",
        fr: "le déploiement de {deployment} est en pause : le modèle actuel n’est pas appliqué (kubectl rollout resume le reprend)",
        look: "kubectl rollout status deployment/{deployment}";

        NotObserved "not-observed" { deployment }
        en: "the cluster has not acted on the latest change of {deployment} yet; look again in a moment",
        fr: "le cluster n’a pas encore pris en compte la dernière modification de {deployment} ; réessayez dans un instant",
        look: "kubectl rollout status deployment/{deployment}";

        OldPodsRunning "old-pods-running" { deployment, pods, image }
        en: "pods of an earlier version ({image}) are still there: {pods}",
        fr: "des pods d’une version précédente ({image}) sont encore là : {pods}",
        look: "kubectl rollout status deployment/{deployment}";

        PodImageChanged "pod-image-changed" { pod, expected, found }
        en: "pod {pod} was changed by hand: it runs {found} instead of {expected}",
        fr: "le pod {pod} a été modifié à la main : il exécute {found} au lieu de {expected}",
        look: "kubectl get pod {pod} -o yaml";

        TooManyPods "too-many-pods" { deployment, expected, found }
        en: "{deployment} is still being scaled: {found} pods where {expected} are asked for",
        fr: "{deployment} est encore en cours de mise à l’échelle : {found} pods pour {expected} demandés",
        look: "kubectl rollout status deployment/{deployment}";

        NoPods "no-pods" { deployment }
        en: "no pod was made for Deployment {deployment}",
        fr: "aucun pod n’a été créé pour le Deployment {deployment}",
        look: "kubectl describe deployment {deployment}";

        TooFewDistinctNodes "too-few-distinct-nodes" { expected, found, nodes }
        en: "the pods run on too few different nodes: {found} of {expected} ({nodes})",
        fr: "les pods tournent sur trop peu de nœuds différents : {found} sur {expected} ({nodes})",
        look: "kubectl get pods -o wide";

        // Pods.
        Unschedulable "unschedulable" { pod, message }
        en: "no node can take pod {pod}; the scheduler says: {message}",
        fr: "aucun nœud ne peut accueillir le pod {pod} ; le planificateur dit : {message}",
        look: "kubectl describe pod {pod}";

        NotScheduled "not-scheduled" { pod }
        en: "pod {pod} has no node yet",
        fr: "le pod {pod} n’a pas encore de nœud",
        look: "kubectl describe pod {pod}";

        ImageNotInRegistry "image-not-in-registry" { image, registry }
        en: "image {image} does not name the cluster's registry: the name must begin with {registry}/",
        fr: "le nom de l’image {image} ne désigne pas le registre du cluster : il doit commencer par {registry}/",
        look: "devops-lab image ls";

        RegistryEmpty "registry-empty" { image }
        en: "image {image} was never pushed; the registry is empty",
        fr: "l’image {image} n’a jamais été poussée ; le registre est vide",
        look: "devops-lab image ls";

        ImageNeverPushed "image-never-pushed" { image, repositories }
        en: "image {image} was never pushed; the registry has: {repositories}",
        fr: "l’image {image} n’a jamais été poussée ; le registre contient : {repositories}",
        look: "devops-lab image ls";

        TagNeverPushed "tag-never-pushed" { image, tags }
        en: "the tag of {image} was never pushed; the registry has: {tags}",
        fr: "le tag de {image} n’a jamais été poussé ; le registre contient : {tags}",
        look: "devops-lab image ls";

        PullFailed "pull-failed" { pod, image, message }
        en: "image {image} of pod {pod} cannot be pulled: {message}",
        fr: "l’image {image} du pod {pod} ne peut pas être téléchargée : {message}",
        look: "kubectl describe pod {pod}";

        ContainerNotCreated "container-not-created" { pod, reason, message }
        en: "the container of pod {pod} cannot be made ({reason}): {message}",
        fr: "le conteneur du pod {pod} ne peut pas être créé ({reason}) : {message}",
        look: "kubectl describe pod {pod}";

        Crashing "crashing" { pod, code }
        en: "the container of pod {pod} starts and ends again (last exit code {code}); its log says why",
        fr: "le conteneur du pod {pod} démarre puis s’arrête (dernier code de sortie : {code}) ; son journal dit pourquoi",
        look: "kubectl logs {pod} --previous";

        KilledByLiveness "killed-by-liveness" { pod, probe, ports }
        en: "the liveness probe of pod {pod} asks on port {probe}, while the container listens on {ports}: the container is restarted over and over",
        fr: "la sonde liveness du pod {pod} interroge le port {probe}, alors que le conteneur écoute sur {ports} : il est redémarré sans cesse",
        look: "kubectl describe pod {pod}";

        ReadinessPortWrong "readiness-port-wrong" { plural, name, probe, ports }
        en: "the readiness probe in {name} asks on port {probe}, while the container listens on {ports}",
        fr: "la sonde readiness de {name} interroge le port {probe}, alors que le conteneur écoute sur {ports}",
        look: "kubectl describe {plural} {name}";

        ReadinessFailing "readiness-failing" { pod, message }
        en: "pod {pod} runs but does not become ready: {message}",
        fr: "le pod {pod} tourne mais ne devient pas prêt : {message}",
        look: "kubectl describe pod {pod}";

        PodsStarting "pods-starting" { pods }
        en: "not ready yet: {pods}; look again in a moment",
        fr: "pas encore prêts : {pods} ; réessayez dans un instant",
        look: "kubectl get pods";

        // Services.
        SelectorEmpty "selector-empty" { service }
        en: "Service {service} has no selector, so no pod belongs to it",
        fr: "le Service {service} n’a pas de sélecteur : aucun pod ne lui appartient",
        look: "kubectl describe service {service}";

        SelectorMatchesNothing "selector-matches-nothing" { service, selector, labels }
        en: "the selector of Service {service} ({selector}) matches no pod; your pods have the labels {labels}",
        fr: "le sélecteur du Service {service} ({selector}) ne correspond à aucun pod ; vos pods portent les labels {labels}",
        look: "kubectl get pods --show-labels";

        SelectorMatchesOthers "selector-matches-others" { service, selector, pods }
        en: "the selector of Service {service} ({selector}) matches pods that do not belong to the deployment: {pods}",
        fr: "le sélecteur du Service {service} ({selector}) correspond à des pods étrangers au déploiement : {pods}",
        look: "kubectl get pods --show-labels";

        ServicePortMissing "service-port-missing" { service, port, ports }
        en: "Service {service} has no port {port}; it has: {ports}",
        fr: "le Service {service} n’a pas de port {port} ; il a : {ports}",
        look: "kubectl describe service {service}";

        TargetPortWrong "target-port-wrong" { service, target, ports }
        en: "Service {service} sends to targetPort {target}, while the container listens on {ports}",
        fr: "le Service {service} envoie vers targetPort {target}, alors que le conteneur écoute sur {ports}",
        look: "kubectl describe service {service}";

        TooFewEndpoints "too-few-endpoints" { service, expected, found }
        en: "Service {service} has too few ready endpoints: {found} of {expected}",
        fr: "le Service {service} a trop peu d’endpoints prêts : {found} sur {expected}",
        look: "kubectl get endpointslices -l kubernetes.io/service-name={service}";

        // Routes.
        RouteWrongGateway "route-wrong-gateway" { route, found, gateways }
        en: "HTTPRoute {route} attaches to {found}; the cluster has the Gateway {gateways}",
        fr: "la HTTPRoute {route} s’attache à {found} ; le cluster a le Gateway {gateways}",
        look: "kubectl get gateways --all-namespaces";

        RouteWrongListener "route-wrong-listener" { route, found, listener }
        en: "HTTPRoute {route} attaches to listener {found} instead of {listener}",
        fr: "la HTTPRoute {route} s’attache au listener {found} au lieu de {listener}",
        look: "kubectl describe httproute {route}";

        RouteHostnames "route-hostnames" { route, hostnames }
        en: "HTTPRoute {route} takes only requests for {hostnames}; without hostnames it takes all",
        fr: "la HTTPRoute {route} ne prend que les requêtes pour {hostnames} ; sans hostnames, elle les prend toutes",
        look: "kubectl describe httproute {route}";

        RouteNoRule "route-no-rule" { route, path }
        en: "no rule of HTTPRoute {route} takes every request under {path}",
        fr: "aucune règle de la HTTPRoute {route} ne prend toutes les requêtes sous {path}",
        look: "kubectl describe httproute {route}";

        RouteOtherBackend "route-other-backend" { route, service, found }
        en: "HTTPRoute {route} sends requests to {found} instead of Service {service}",
        fr: "la HTTPRoute {route} envoie les requêtes à {found} au lieu du Service {service}",
        look: "kubectl describe httproute {route}";

        RouteBackendPort "route-backend-port" { route, service, port, ports }
        en: "HTTPRoute {route} sends to port {port} of Service {service}, which has: {ports}",
        fr: "la HTTPRoute {route} envoie vers le port {port} du Service {service}, qui a : {ports}",
        look: "kubectl describe service {service}";

        RouteShare "route-share" { route, service, expected, found }
        en: "HTTPRoute {route} gives Service {service} {found} % of the requests instead of {expected} % (see weight)",
        fr: "la HTTPRoute {route} donne au Service {service} {found} % des requêtes au lieu de {expected} % (voir weight)",
        look: "kubectl describe httproute {route}";

        RouteNotSeen "route-not-seen" { route }
        en: "the load balancer has not looked at the latest version of HTTPRoute {route} yet; look again in a moment",
        fr: "le répartiteur de charge n’a pas encore vu la dernière version de la HTTPRoute {route} ; réessayez dans un instant",
        look: "kubectl describe httproute {route}";

        RouteNotAccepted "route-not-accepted" { route, reason, message }
        en: "the load balancer does not accept HTTPRoute {route} ({reason}): {message}",
        fr: "le répartiteur de charge n’accepte pas la HTTPRoute {route} ({reason}) : {message}",
        look: "kubectl describe httproute {route}";

        RouteNotResolved "route-not-resolved" { route, reason, message }
        en: "a backend of HTTPRoute {route} cannot be found ({reason}): {message}",
        fr: "un backend de la HTTPRoute {route} est introuvable ({reason}) : {message}",
        look: "kubectl describe httproute {route}";

        // Answers over HTTP.
        NoRoute "no-route" { url }
        en: "the load balancer has no route for {url}",
        fr: "le répartiteur de charge n’a pas de route pour {url}",
        look: "kubectl get httproutes";

        NoReadyBackend "no-ready-backend" { url, message }
        en: "the load balancer has nobody to send {url} to: {message}",
        fr: "le répartiteur de charge n’a personne à qui envoyer {url} : {message}",
        look: "kubectl get endpointslices";

        WrongStatus "wrong-status" { url, expected, found, count, requests }
        en: "{url} answers {found} instead of {expected} ({count} of {requests} requests)",
        fr: "{url} répond {found} au lieu de {expected} ({count} requêtes sur {requests})",
        look: "curl -i {url}";

        NotJson "not-json" { url, body }
        en: "{url} does not answer with JSON but with: {body}",
        fr: "{url} ne répond pas en JSON mais avec : {body}",
        look: "curl -i {url}";

        WrongField "wrong-field" { url, field, expected, found }
        en: "{url} answers with {field} {found} instead of {expected}",
        fr: "{url} répond avec {field} {found} au lieu de {expected}",
        look: "curl -s {url}";

        HeaderDiffers "header-differs" { url, header, expected, found }
        en: "{url} answers with header {header} {found} instead of {expected}",
        fr: "{url} répond avec l’en-tête {header} {found} au lieu de {expected}",
        look: "curl -i {url}";

        BodyDiffers "body-differs" { url, expected, found }
        en: "{url} answers with {found}, in which there is no {expected}",
        fr: "{url} répond {found}, où il n’y a pas de {expected}",
        look: "curl -s {url}";

        ShareOff "share-off" { url, value, expected, found, requests }
        en: "{found} % of {requests} answers of {url} are from {value} instead of {expected} %",
        fr: "{found} % des {requests} réponses de {url} viennent de {value} au lieu de {expected} %",
        look: "kubectl describe httproutes";

        AnsweredByStranger "answered-by-stranger" { url, found, pods }
        en: "{url} is answered by {found}, which is none of your pods ({pods})",
        fr: "{url} est servi par {found}, qui n’est aucun de vos pods ({pods})",
        look: "curl -i {url}";

        TooFewPodsAnswer "too-few-pods-answer" { expected, found, pods, requests }
        en: "too few different pods answered {requests} requests: {found} of {expected} ({pods})",
        fr: "trop peu de pods différents ont répondu à {requests} requêtes : {found} sur {expected} ({pods})",
        look: "kubectl get pods -o wide";

        // Images.
        OldDigestRunning "old-digest-running" { image, pods }
        en: "{image} in the registry is not what these pods run: {pods} (was it pushed again later, or did a node keep an older image of that name?)",
        fr: "{image} dans le registre n’est pas ce qu’exécutent ces pods : {pods} (a-t-elle été repoussée depuis, ou un nœud a-t-il gardé une image plus ancienne du même nom ?)",
        look: "kubectl describe pods";

        // What images hold.
        ImageRunsAsRoot "image-runs-as-root" { image, user }
        en: "image {image} runs its program as root (its configuration says user {user})",
        fr: "l’image {image} exécute son programme en root (sa configuration indique l’utilisateur {user})",
        look: "devops-lab image ls";

        ImageEntrypointDiffers "image-entrypoint-differs" { image, expected, found }
        en: "image {image} starts {found} instead of {expected}",
        fr: "l’image {image} lance {found} au lieu de {expected}",
        look: "devops-lab image ls";

        ImageLabelMissing "image-label-missing" { image, label, expected, found }
        en: "image {image} has label {label} {found} instead of {expected}",
        fr: "l’image {image} porte le label {label} {found} au lieu de {expected}",
        look: "devops-lab image ls";

        ImageEnvMissing "image-env-missing" { image, variable, expected, found }
        en: "image {image} sets the variable {variable} to {found} instead of {expected}",
        fr: "l’image {image} donne à la variable {variable} la valeur {found} au lieu de {expected}",
        look: "devops-lab image ls";

        ImageTooBig "image-too-big" { image, most, found }
        en: "image {image} adds {found} bytes to its base, where {most} are enough",
        fr: "l’image {image} ajoute {found} octets à sa base, alors que {most} suffisent",
        look: "devops-lab image ls";

        ImageTooManyLayers "image-too-many-layers" { image, most, found }
        en: "image {image} has {found} layers, where {most} are enough",
        fr: "l’image {image} a {found} couches, alors que {most} suffisent",
        look: "devops-lab image ls";

        ImageOtherBase "image-other-base" { image, base }
        en: "image {image} is not built on {base}: its first layers are others",
        fr: "l’image {image} n’est pas construite sur {base} : ses premières couches sont différentes",
        look: "devops-lab image ls";

        ImageHoldsFile "image-holds-file" { image, file, layer }
        en: "image {image} holds {file}, in layer {layer}; deleting it in a later layer only hides it",
        fr: "l’image {image} contient {file}, dans la couche {layer} ; le supprimer dans une couche suivante ne fait que le cacher",
        look: "devops-lab image ls";

        ImageLacksFile "image-lacks-file" { image, file }
        en: "image {image} has no {file}",
        fr: "l’image {image} n’a pas de {file}",
        look: "devops-lab image ls";

        ImageOtherContent "image-other-content" { image, other }
        en: "image {image} has not the same content as {other}: their digests differ",
        fr: "l’image {image} n’a pas le même contenu que {other} : leurs digests diffèrent",
        look: "devops-lab image ls";

        NoImageOfCommit "no-image-of-commit" { repository, commit, tags }
        en: "the registry has no image of {repository} whose tag is commit {commit}; it has the tags: {tags}",
        fr: "le registre n’a pas d’image de {repository} dont le tag soit le commit {commit} ; il a les tags : {tags}",
        look: "git log --oneline -3";

        ImageOfOtherCommit "image-of-other-commit" { image, commit, found }
        en: "image {image} was made from {found}, not from commit {commit}",
        fr: "l’image {image} vient de {found}, et non du commit {commit}",
        look: "git log --oneline -3";

        // Files.
        NoWorkspace "no-workspace" { path }
        en: "your files were not handed out yet, so {path} cannot be looked at; begin the lab with devops-lab lab next",
        fr: "vos fichiers n’ont pas encore été distribués : impossible de regarder {path} ; commencez le lab avec devops-lab lab next",
        look: "devops-lab lab next";

        FileMissing "file-missing" { path, present }
        en: "there is no file {path}; beside it there is: {present}",
        fr: "il n’y a pas de fichier {path} ; à côté il y a : {present}",
        look: "ls {path}";

        FileLacks "file-lacks" { path, expected }
        en: "{path} does not contain {expected}",
        fr: "{path} ne contient pas {expected}",
        look: "cat {path}";

        FileContainsForbidden "file-contains-forbidden" { path, line, text }
        en: "{path} still contains, on line {line}: {text}",
        fr: "{path} contient encore, à la ligne {line} : {text}",
        look: "cat {path}";

        FileNotParsed "file-not-parsed" { path, problem }
        en: "{path} cannot be read as what it should be: {problem}",
        fr: "{path} ne peut pas être lu comme il le devrait : {problem}",
        look: "cat {path}";

        FileValueWrong "file-value-wrong" { path, field, expected, found }
        en: "{path} has {field} {found} instead of {expected}",
        fr: "{path} a {field} {found} au lieu de {expected}",
        look: "cat {path}";

        DockerfileMissing "dockerfile-missing" { path }
        en: "there is no {path}",
        fr: "il n’y a pas de {path}",
        look: "ls {path}";

        DockerfileOtherBase "dockerfile-other-base" { path, expected, found }
        en: "the image of {path} is built on {found} instead of {expected} (the last FROM counts)",
        fr: "l’image de {path} est construite sur {found} au lieu de {expected} (c’est le dernier FROM qui compte)",
        look: "cat {path}";

        DockerfileNoUser "dockerfile-no-user" { path }
        en: "the last stage of {path} has no USER, so it does not say who runs the program",
        fr: "la dernière étape (stage) de {path} n’a pas de USER : elle ne dit pas qui exécute le programme",
        look: "cat {path}";

        DockerfileUserRoot "dockerfile-user-root" { path, line, user }
        en: "line {line} of {path} runs the program as {user}, which is root",
        fr: "la ligne {line} de {path} exécute le programme avec l’utilisateur {user}, c’est-à-dire root",
        look: "cat {path}";

        DockerfileInstructionMissing "dockerfile-instruction-missing" { path, instruction }
        en: "{path} has no instruction {instruction}",
        fr: "{path} n’a pas d’instruction {instruction}",
        look: "cat {path}";

        DockerfileForbidden "dockerfile-forbidden" { path, line, text }
        en: "line {line} of {path} should not be there: {text}",
        fr: "la ligne {line} de {path} ne devrait pas y être : {text}",
        look: "cat {path}";

        DockerignoreMissing "dockerignore-missing" { path }
        en: "there is no {path}, so every file of the directory goes into the build",
        fr: "il n’y a pas de {path} : tous les fichiers du répertoire partent dans la construction",
        look: "ls -a";

        DockerignoreLacks "dockerignore-lacks" { path, pattern }
        en: "{path} does not leave out {pattern}",
        fr: "{path} n’exclut pas {pattern}",
        look: "cat {path}";

        // Commands.
        CommandMissing "command-missing" { command, program }
        en: "there is no program {program} for: {command}",
        fr: "le programme {program} est introuvable pour : {command}",
        look: "command -v {program}";

        CommandFailed "command-failed" { command, expected, code, message }
        en: "{command} ends with {code} instead of {expected}: {message}",
        fr: "{command} se termine avec {code} au lieu de {expected} : {message}",
        look: "{command}";

        CommandOutputDiffers "command-output-differs" { command, expected, found }
        en: "{command} prints {found}, in which there is no {expected}",
        fr: "{command} affiche {found}, où il n’y a pas de {expected}",
        look: "{command}";

        CommandTooSlow "command-too-slow" { command, seconds }
        en: "{command} was not done after {seconds} s and was stopped",
        fr: "{command} n’avait pas fini après {seconds} s et a été arrêtée",
        look: "{command}";

        // Answers to questions.
        NotAnswered "not-answered" { question }
        en: "the question {question} has no answer yet",
        fr: "la question {question} n’a pas encore de réponse",
        look: "devops-lab answer {question}";

        NoTrafficRecord "no-traffic-record" { }
        en: "no traffic has been recorded since you began the lab; devops-lab traffic start sends and records it",
        fr: "aucun trafic n’a été enregistré depuis le début du lab ; devops-lab traffic start l’envoie et l’enregistre",
        look: "devops-lab traffic status";

        AnswerWrong "answer-wrong" { question, answer }
        en: "the answer to {question} is not right: {answer}",
        fr: "la réponse à {question} n’est pas juste : {answer}",
        look: "devops-lab answer {question}";

        // Commits.
        NotARepository "not-a-repository" { dir }
        en: "{dir} is not in a Git repository",
        fr: "{dir} n’est pas dans un dépôt Git",
        look: "git -C {dir} status";

        GitNoCommit "git-no-commit" { dir, expected, found }
        en: "{dir} has too few commits: {found} of {expected}",
        fr: "{dir} a trop peu de commits : {found} sur {expected}",
        look: "git -C {dir} log --oneline";

        GitUncommitted "git-uncommitted" { dir, files }
        en: "{dir} has changes that are not committed: {files}",
        fr: "{dir} contient des modifications non commitées : {files}",
        look: "git -C {dir} status";

        GitOtherBranch "git-other-branch" { dir, expected, found }
        en: "{dir} is on branch {found} instead of {expected}",
        fr: "{dir} est sur la branche {found} au lieu de {expected}",
        look: "git -C {dir} branch";

        GitNotPushed "git-not-pushed" { dir, branch, commit, remote }
        en: "commit {commit} of branch {branch} is not in {remote} yet",
        fr: "le commit {commit} de la branche {branch} n’est pas encore dans {remote}",
        look: "git -C {dir} status";

        GitNoRemote "git-no-remote" { dir, expected, found }
        en: "{dir} has no remote in {expected}; it has: {found}",
        fr: "{dir} n’a pas de dépôt distant dans {expected} ; il a : {found}",
        look: "git -C {dir} remote -v";

        GitMessageDiffers "git-message-differs" { dir, expected, found }
        en: "no new commit of {dir} has a message like {expected}; the last one says: {found}",
        fr: "aucun nouveau commit de {dir} n’a un message comme {expected} ; le dernier dit : {found}",
        look: "git -C {dir} log -3";

        GitUntouched "git-untouched" { dir, path, touched }
        en: "no new commit of {dir} changes {path}; they change: {touched}",
        fr: "aucun nouveau commit de {dir} ne modifie {path} ; ils modifient : {touched}",
        look: "git -C {dir} log --stat -3";

        // Replacement.
        NoPodLost "no-pod-lost" { deployment }
        en: "no pod of {deployment} has been deleted yet",
        fr: "aucun pod de {deployment} n’a encore été supprimé",
        look: "kubectl get pods";

        PodEnding "pod-ending" { pod }
        en: "pod {pod} was deleted and is still on its way out; look again in a moment",
        fr: "le pod {pod} a été supprimé et finit de s’arrêter ; réessayez dans un instant",
        look: "kubectl get pods";

        NotReplaced "not-replaced" { deployment }
        en: "a pod of {deployment} is gone, and its replacement is not ready yet; look again in a moment",
        fr: "un pod de {deployment} a disparu et son remplaçant n’est pas encore prêt ; réessayez dans un instant",
        look: "kubectl get pods";

        // Revisions.
        NotRolledBack "not-rolled-back" { kind, plural, name, image }
        en: "since this lab began, {kind} {name} has not gone back from {image} to an earlier revision",
        fr: "depuis le début de ce lab, le {kind} {name} n’est pas revenu de {image} à une révision antérieure",
        look: "devops-lab kubectl rollout history {plural}/{name}";

        RolledBackByScaling "rolled-back-by-scaling" { kind, plural, name }
        en: "{kind} {name} was scaled to zero: users are not served by it, and no earlier revision is back",
        fr: "le {kind} {name} a été réduit à zéro réplique : il ne sert plus personne, et aucune révision antérieure n’est revenue",
        look: "kubectl get {plural} {name}";

        EditedInsteadOfRolledBack "edited-instead-of-rolled-back" { kind, plural, name, revision, image }
        en: "{kind} {name} runs {image} as a new revision ({revision}): its template was edited by hand instead of taken back from the history",
        fr: "le {kind} {name} exécute {image} en tant que nouvelle révision ({revision}) : son modèle a été modifié à la main au lieu d’être repris de l’historique",
        look: "kubectl get replicasets --show-labels";

        TooFewRevisions "too-few-revisions" { kind, plural, name, expected, found }
        en: "{kind} {name} has too few revisions: {found} of {expected}",
        fr: "le {kind} {name} a trop peu de révisions : {found} sur {expected}",
        look: "kubectl get replicasets";

        RolloutGoingOn "rollout-going-on" { kind, plural, name }
        en: "the update of {kind} {name} is still under way; look again in a moment",
        fr: "la mise à jour du {kind} {name} est encore en cours ; réessayez dans un instant",
        look: "kubectl get {plural} {name}";

        // Rollouts.
        RolloutOtherPhase "rollout-other-phase" { rollout, expected, found, message }
        en: "Rollout {rollout} is {found} instead of {expected}: {message}",
        fr: "le Rollout {rollout} est {found} au lieu de {expected} : {message}",
        look: "devops-lab rollout get {rollout}";

        RolloutNotAborted "rollout-not-aborted" { rollout }
        en: "since this lab began, Rollout {rollout} was not aborted",
        fr: "depuis le début de ce lab, le Rollout {rollout} n’a pas été interrompu (abort)",
        look: "devops-lab rollout get {rollout}";

        RolloutAborted "rollout-aborted" { rollout, message }
        en: "the update of Rollout {rollout} was aborted: {message}",
        fr: "la mise à jour du Rollout {rollout} a été interrompue (abort) : {message}",
        look: "devops-lab rollout get {rollout}";

        RolloutOtherStep "rollout-other-step" { rollout, expected, found }
        en: "Rollout {rollout} is at step {found} instead of {expected} (counted from 0)",
        fr: "le Rollout {rollout} en est à l’étape {found} au lieu de {expected} (comptée à partir de 0)",
        look: "devops-lab rollout get {rollout}";

        RolloutOtherWeight "rollout-other-weight" { rollout, expected, found }
        en: "the canary of Rollout {rollout} gets {found} % of the traffic instead of {expected} %",
        fr: "le canary du Rollout {rollout} reçoit {found} % du trafic au lieu de {expected} %",
        look: "devops-lab rollout get {rollout}";

        WeightsSwapped "weights-swapped" { expected, found }
        en: "the weights are the wrong way round: {found} instead of {expected}",
        fr: "les poids sont inversés : {found} au lieu de {expected}",
        look: "kubectl get httproutes -o yaml";

        RolloutOtherStable "rollout-other-stable" { rollout, expected, found }
        en: "the stable version of Rollout {rollout} is {found} instead of {expected}",
        fr: "la version stable du Rollout {rollout} est {found} au lieu de {expected}",
        look: "devops-lab rollout get {rollout}";

        RolloutOtherCanary "rollout-other-canary" { rollout, expected, found }
        en: "the canary of Rollout {rollout} is {found} instead of {expected}",
        fr: "le canary du Rollout {rollout} est {found} au lieu de {expected}",
        look: "devops-lab rollout get {rollout}";

        RolloutNoAnalysis "rollout-no-analysis" { rollout }
        en: "no AnalysisRun was made for the present revision of Rollout {rollout}",
        fr: "aucun AnalysisRun n’a été créé pour la révision actuelle du Rollout {rollout}",
        look: "kubectl get analysisruns";

        RolloutAnalysisOther "rollout-analysis-other" { rollout, expected, found, message }
        en: "the analysis of Rollout {rollout} is {found} instead of {expected}: {message}",
        fr: "l’analyse du Rollout {rollout} est {found} au lieu de {expected} : {message}",
        look: "kubectl get analysisruns";

        RolloutSpecInvalid "rollout-spec-invalid" { rollout, message }
        en: "Rollout {rollout} cannot be carried out as it is written: {message}",
        fr: "le Rollout {rollout} ne peut pas être exécuté tel qu’il est écrit : {message}",
        look: "devops-lab rollout get {rollout}";

        RolloutOtherStrategy "rollout-other-strategy" { rollout, expected, found }
        en: "Rollout {rollout} has strategy {found} instead of {expected}",
        fr: "le Rollout {rollout} a la stratégie {found} au lieu de {expected}",
        look: "kubectl get rollout {rollout} -o yaml";

        // What users met.
        NoSuchEvent "no-such-event" { event, names }
        en: "since this lab began, this has not happened to {names}: {event}",
        fr: "depuis le début de ce lab, ceci n’est pas arrivé à {names} : {event}",
        look: "kubectl get events";

        TrafficDoesNotCover "traffic-does-not-cover" { from, to, recorded }
        en: "the traffic must run from before {from} until after {to}; recorded are {recorded}",
        fr: "le trafic doit durer d’avant {from} jusqu’après {to} ; sont enregistrés : {recorded}",
        look: "devops-lab traffic status";

        TrafficGoingOn "traffic-going-on" { to }
        en: "the record must go on until {to}; let the traffic run, and look again in a moment",
        fr: "l’enregistrement doit durer jusqu’à {to} ; laissez tourner le trafic et réessayez dans un instant",
        look: "devops-lab traffic status";

        TooFewRequests "too-few-requests" { expected, found }
        en: "too few requests were sent at that time to tell: {found} of {expected}",
        fr: "trop peu de requêtes ont été envoyées à ce moment pour en juger : {found} sur {expected}",
        look: "devops-lab traffic report";

        RequestsFailed "requests-failed" { failed, requests, allowed, from, to }
        en: "users met failures: {failed} of {requests} requests from {from} to {to}, where {allowed} are allowed",
        fr: "des utilisateurs ont subi des échecs : {failed} requêtes sur {requests} de {from} à {to}, pour {allowed} tolérées",
        look: "devops-lab traffic report";

        NoFailureSeen "no-failure-seen" { expected, found, version }
        en: "users met too few failures since this lab began: {found} of {expected} (version {version})",
        fr: "les utilisateurs ont subi trop peu d’échecs depuis le début de ce lab : {found} sur {expected} (version {version})",
        look: "devops-lab traffic report";

        StillFailing "still-failing" { last, seconds }
        en: "requests failed until {last}; only {seconds} s without a failure show that users are served again",
        fr: "des requêtes ont échoué jusqu’à {last} ; il faut {seconds} s sans échec pour montrer que les utilisateurs sont de nouveau servis",
        look: "devops-lab traffic watch";

        RecoveredTooLate "recovered-too-late" { expected, found, first, last }
        en: "users met failures for {found} s ({first} to {last}), where {expected} s are allowed",
        fr: "les utilisateurs ont subi des échecs pendant {found} s (de {first} à {last}), pour {expected} s tolérées",
        look: "devops-lab traffic report";

        TrafficStoppedTooEarly "traffic-stopped-too-early" { last, seconds }
        en: "the traffic ended before it showed that users are served again: {seconds} s without a failure must follow the last one, at {last}",
        fr: "le trafic s’est arrêté avant de montrer que les utilisateurs sont de nouveau servis : {seconds} s sans échec doivent suivre le dernier, à {last}",
        look: "devops-lab traffic start";

        VersionAbsent "version-absent" { version, requests, found }
        en: "version {version} answered none of {requests} requests; these did: {found}",
        fr: "la version {version} n’a répondu à aucune des {requests} requêtes ; ont répondu : {found}",
        look: "kubectl get pods -o wide";

        // Metrics and alerts.
        MetricEmpty "metric-empty" { query, expected, found }
        en: "the query {query} has too few series in its answer: {found} of {expected}",
        fr: "la requête {query} donne trop peu de séries : {found} sur {expected}",
        look: "devops-lab metrics query '{query}'";

        MetricDiffers "metric-differs" { query, expected, found, series }
        en: "the query {query} gives {found} for {series}, where {expected} is asked for",
        fr: "la requête {query} donne {found} pour {series}, alors que {expected} est demandé",
        look: "devops-lab metrics query '{query}'";

        AlertUnknown "alert-unknown" { alert, present }
        en: "there is no alert {alert}; there is: {present}",
        fr: "il n’y a pas d’alerte {alert} ; il y a : {present}",
        look: "kubectl get prometheusrules --all-namespaces";

        AlertOtherState "alert-other-state" { alert, expected, found }
        en: "alert {alert} is {found} instead of {expected}",
        fr: "l’alerte {alert} est {found} au lieu de {expected}",
        look: "devops-lab metrics query 'ALERTS'";

        AlertNeverFired "alert-never-fired" { alert, seconds }
        en: "alert {alert} has not fired in the last {seconds} s of this lab",
        fr: "l’alerte {alert} ne s’est pas déclenchée dans les {seconds} dernières secondes de ce lab",
        look: "devops-lab metrics query 'ALERTS'";

        // How containers are configured.
        NoReadiness "no-readiness" { kind, plural, name, container }
        en: "container {container} of {kind} {name} has no readiness probe, so users are sent to it before it can answer",
        fr: "le conteneur {container} du {kind} {name} n’a pas de sonde readiness : des utilisateurs lui sont envoyés avant qu’il puisse répondre",
        look: "kubectl describe {plural} {name}";

        ReadinessPathDiffers "readiness-path-differs" { plural, name, expected, found }
        en: "the readiness probe in {name} asks for {found} instead of {expected}",
        fr: "la sonde readiness de {name} demande {found} au lieu de {expected}",
        look: "kubectl describe {plural} {name}";

        NoPreStop "no-pre-stop" { kind, plural, name, container }
        en: "container {container} of {kind} {name} has no preStop hook, so it may end before the load balancer knows",
        fr: "le conteneur {container} du {kind} {name} n’a pas de hook preStop : il peut s’arrêter avant que le répartiteur de charge le sache",
        look: "kubectl get {plural} {name} -o yaml";

        GraceTooShort "grace-too-short" { kind, plural, name, grace, sleep }
        en: "the grace period of {kind} {name} ({grace} s) is over before its preStop sleep of {sleep} s leaves time to end",
        fr: "le délai de grâce du {kind} {name} ({grace} s) est écoulé avant que son preStop de {sleep} s laisse le temps de finir",
        look: "kubectl get {plural} {name} -o yaml";

        UnavailableAllowed "unavailable-allowed" { kind, plural, name, expected, found }
        en: "{kind} {name} lets pods be missing during an update: maxUnavailable is {found} instead of {expected}",
        fr: "le {kind} {name} tolère des pods manquants pendant une mise à jour : maxUnavailable vaut {found} au lieu de {expected}",
        look: "kubectl get {plural} {name} -o yaml";

        SurgeDiffers "surge-differs" { kind, plural, name, expected, found }
        en: "maxSurge of {kind} {name} is {found} instead of {expected}",
        fr: "maxSurge du {kind} {name} vaut {found} au lieu de {expected}",
        look: "kubectl get {plural} {name} -o yaml";

        NoRequests "no-requests" { kind, plural, name, container, missing }
        en: "container {container} of {kind} {name} does not say what it needs: resources.{missing} is missing",
        fr: "le conteneur {container} du {kind} {name} ne dit pas ce qu’il lui faut : resources.{missing} manque",
        look: "kubectl describe {plural} {name}";

        EnvironmentDiffers "environment-differs" { plural, name, variable, expected, found }
        en: "variable {variable} in {name} is {found} instead of {expected}",
        fr: "la variable {variable} de {name} vaut {found} au lieu de {expected}",
        look: "kubectl describe {plural} {name}";

        // Autoscaling.
        HpaNoMetrics "hpa-no-metrics" { hpa, message }
        en: "HorizontalPodAutoscaler {hpa} has no metric to go by: {message}",
        fr: "l’HorizontalPodAutoscaler {hpa} n’a pas de métrique sur laquelle se régler : {message}",
        look: "kubectl describe hpa {hpa}";

        HpaOtherTarget "hpa-other-target" { hpa, metric, expected, found }
        en: "HorizontalPodAutoscaler {hpa} aims at {metric} {found} instead of {expected}",
        fr: "l’HorizontalPodAutoscaler {hpa} vise {metric} {found} au lieu de {expected}",
        look: "kubectl get hpa {hpa} -o yaml";

        HpaNeverScaled "hpa-never-scaled" { hpa, expected, found }
        en: "since this lab began, load made HorizontalPodAutoscaler {hpa} ask for {found} replicas at most; {expected} are wanted",
        fr: "depuis le début de ce lab, la charge a fait demander à l’HorizontalPodAutoscaler {hpa} {found} répliques au plus ; il en faut {expected}",
        look: "kubectl describe hpa {hpa}";

        HpaNotBack "hpa-not-back" { hpa, expected, found }
        en: "HorizontalPodAutoscaler {hpa} still has {found} replicas, where {expected} at most are wanted",
        fr: "l’HorizontalPodAutoscaler {hpa} a encore {found} répliques, pour {expected} au plus",
        look: "kubectl get hpa {hpa}";

        ScaledByHand "scaled-by-hand" { hpa, replicas }
        en: "there are {replicas} replicas, but not because load made HorizontalPodAutoscaler {hpa} ask for them",
        fr: "il y a {replicas} répliques, mais ce n’est pas la charge qui les a fait demander à l’HorizontalPodAutoscaler {hpa}",
        look: "kubectl describe hpa {hpa}";

        // Pipelines.
        CiNoRepository "ci-no-repository" { repository, present }
        en: "no pipeline ever ran for repository {repository}; there are runs of: {present}",
        fr: "aucun pipeline n’a jamais tourné pour le dépôt {repository} ; il y a des exécutions de : {present}",
        look: "devops-lab ci list";

        CiNoRun "ci-no-run" { repository }
        en: "since this lab began, no pipeline ran for repository {repository}",
        fr: "depuis le début de ce lab, aucun pipeline n’a tourné pour le dépôt {repository}",
        look: "devops-lab ci list";

        CiRunOfOtherCommit "ci-run-of-other-commit" { repository, expected, found }
        en: "no pipeline of {repository} ran for commit {expected}; the latest run was for {found}",
        fr: "aucun pipeline de {repository} n’a tourné pour le commit {expected} ; la dernière exécution portait sur {found}",
        look: "git log --oneline -3";

        CiRunRed "ci-run-red" { run, conclusion, step }
        en: "run {run} of the pipeline ended with {conclusion} (step: {step})",
        fr: "l’exécution {run} du pipeline s’est terminée par {conclusion} (étape : {step})",
        look: "devops-lab ci logs {run}";

        CiRunGreen "ci-run-green" { run }
        en: "run {run} of the pipeline succeeded, where it is meant to fail",
        fr: "l’exécution {run} du pipeline a réussi, alors qu’elle doit échouer",
        look: "devops-lab ci logs {run}";

        CiRunGoingOn "ci-run-going-on" { run }
        en: "run {run} of the pipeline is still under way; look again in a moment",
        fr: "l’exécution {run} du pipeline est encore en cours ; réessayez dans un instant",
        look: "devops-lab ci list";

        CiStepMissing "ci-step-missing" { run, step, present }
        en: "run {run} of the pipeline has no step {step}; it has: {present}",
        fr: "l’exécution {run} du pipeline n’a pas d’étape {step} ; elle a : {present}",
        look: "devops-lab ci logs {run}";

        CiStepSkipped "ci-step-skipped" { run, step }
        en: "step {step} did not run in run {run} of the pipeline",
        fr: "l’étape {step} n’a pas été exécutée dans l’exécution {run} du pipeline",
        look: "devops-lab ci logs {run}";

        CiStepNotSkipped "ci-step-not-skipped" { run, step, after }
        en: "step {step} ran although {after} before it failed (run {run} of the pipeline)",
        fr: "l’étape {step} a été exécutée bien que {after}, avant elle, ait échoué (exécution {run} du pipeline)",
        look: "devops-lab ci logs {run}";

        CiOtherStepFailed "ci-other-step-failed" { run, expected, found }
        en: "in run {run} of the pipeline step {found} failed instead of {expected}",
        fr: "dans l’exécution {run} du pipeline, c’est l’étape {found} qui a échoué au lieu de {expected}",
        look: "devops-lab ci logs {run}";

        CiOrderWrong "ci-order-wrong" { run, first, second }
        en: "in run {run} of the pipeline step {second} did not come after {first}",
        fr: "dans l’exécution {run} du pipeline, l’étape {second} ne vient pas après {first}",
        look: "devops-lab ci logs {run}";

        // The check itself.
        ApiNotAnswering "api-not-answering" { problem }
        en: "the cluster's API does not answer ({problem}); is the cluster running?",
        fr: "l’API du cluster ne répond pas ({problem}) ; le cluster est-il démarré ?",
        look: "devops-lab status";

        ApiRefuses "api-refuses" { what, message }
        en: "the cluster's API refuses to show {what}: {message}",
        fr: "l’API du cluster refuse de montrer {what} : {message}",
        look: "devops-lab status";

        NotServed "not-served" { what }
        en: "this cluster does not know {what}",
        fr: "ce cluster ne connaît pas {what}",
        look: "kubectl api-resources";

        LoadBalancerNotAnswering "load-balancer-not-answering" { url, problem }
        en: "nothing answers on {url} ({problem}); the load balancer should",
        fr: "rien ne répond sur {url} ({problem}) ; le répartiteur de charge le devrait",
        look: "devops-lab status";

        RegistryNotAnswering "registry-not-answering" { registry, problem }
        en: "the registry {registry} does not answer as a registry does ({problem})",
        fr: "le registre {registry} ne répond pas comme un registre ({problem})",
        look: "devops-lab status";

        MetricRefused "metric-refused" { query, message }
        en: "the metrics do not understand the query {query}: {message}",
        fr: "le serveur de métriques ne comprend pas la requête {query} : {message}",
        look: "devops-lab metrics targets";

        MetricsNotAnswering "metrics-not-answering" { url, problem }
        en: "the metrics on {url} do not answer as Prometheus does ({problem})",
        fr: "les métriques sur {url} ne répondent pas comme Prometheus ({problem})",
        look: "devops-lab status";

        RunsUnreadable "runs-unreadable" { problem }
        en: "the runs of pipelines cannot be read ({problem})",
        fr: "les exécutions de pipelines sont illisibles ({problem})",
        look: "devops-lab ci list";

        TrafficUnreadable "traffic-unreadable" { problem }
        en: "the record of your traffic cannot be read ({problem})",
        fr: "l’enregistrement de votre trafic est illisible ({problem})",
        look: "devops-lab traffic status";

        TimedOut "timed-out" { seconds }
        en: "the check took longer than {seconds} s and was given up",
        fr: "la vérification a pris plus de {seconds} s et a été abandonnée",
        look: "devops-lab status";

        BadParameters "bad-parameters" { check, problem }
        en: "the lab asks check {check} for something it cannot do: {problem}",
        fr: "le lab demande à la vérification {check} quelque chose d’impossible : {problem}";
    }
}

#[cfg(test)]
mod tests;
