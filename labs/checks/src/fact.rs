//! What checks expect and observe, as sentences.

messages! {
    /// One side of a comparison.
    pub enum Fact {
        NodesWanted "nodes-wanted" { nodes }
        en: "nodes Ready and open for pods: at least {nodes}",
        fr: "nœuds Ready et ouverts aux pods : au moins {nodes}";

        Nodes "nodes" { ready, nodes }
        en: "nodes Ready and open for pods: {ready} ({nodes})",
        fr: "nœuds Ready et ouverts aux pods : {ready} ({nodes})";

        ReplicasWanted "replicas-wanted" { deployment, replicas, image, nodes }
        en: "{deployment}: available replicas {replicas}, different nodes {nodes}, image {image}",
        fr: "{deployment} : répliques disponibles {replicas}, nœuds différents {nodes}, image {image}";

        Replicas "replicas" { deployment, replicas, wanted, nodes, image }
        en: "{deployment}: available replicas {replicas} of {wanted}, different nodes {nodes}, image {image}",
        fr: "{deployment} : répliques disponibles {replicas} sur {wanted}, nœuds différents {nodes}, image {image}";

        Nothing "nothing" { kind, name }
        en: "no {kind} {name}",
        fr: "pas de {kind} {name}";

        EndpointsWanted "endpoints-wanted" { service, deployment, endpoints }
        en: "Service {service}: at least {endpoints} ready endpoints, all of them pods of {deployment}",
        fr: "Service {service} : au moins {endpoints} endpoints prêts, tous des pods de {deployment}";

        Endpoints "endpoints" { service, ready, others }
        en: "Service {service}: ready endpoints {ready}, of others {others}",
        fr: "Service {service} : endpoints prêts {ready}, étrangers {others}";

        RouteWanted "route-wanted" { route, service, share, listener }
        en: "HTTPRoute {route} is accepted on listener {listener} and sends {share} % to Service {service}",
        fr: "la HTTPRoute {route} est acceptée sur le listener {listener} et envoie {share} % au Service {service}";

        Route "route" { route, accepted, resolved, backends }
        en: "HTTPRoute {route}: Accepted {accepted}, ResolvedRefs {resolved}, sends to {backends}",
        fr: "HTTPRoute {route} : Accepted {accepted}, ResolvedRefs {resolved}, envoie à {backends}";

        AnswersWanted "answers-wanted" { url, status, requests, pods }
        en: "{url} answers {status}, requests {requests}, different pods at least {pods}",
        fr: "{url} répond {status}, requêtes {requests}, pods différents au moins {pods}";

        Answers "answers" { url, good, requests, pods }
        en: "{url}: good answers {good} of {requests}, from {pods}",
        fr: "{url} : bonnes réponses {good} sur {requests}, de {pods}";

        ReplacedWanted "replaced-wanted" { deployment }
        en: "a pod of {deployment} was deleted and another took its place",
        fr: "un pod de {deployment} a été supprimé et un autre a pris sa place";

        Replaced "replaced" { deployment, lost, ready, wanted }
        en: "{deployment}: deleted pods [{lost}], ready replicas {ready} of {wanted}",
        fr: "{deployment} : pods supprimés [{lost}], répliques prêtes {ready} sur {wanted}";

        ImageWanted "image-wanted" { image }
        en: "{image} in the registry",
        fr: "{image} dans le registre";

        ImageWantedRunning "image-wanted-running" { image, deployment }
        en: "{image} in the registry, the very one that the pods of {deployment} run",
        fr: "{image} dans le registre, celle-là même qu’exécutent les pods de {deployment}";

        Image "image" { image, digest }
        en: "{image} has digest {digest}",
        fr: "{image} a le digest {digest}";

        ImageAbsent "image-absent" { image, tags }
        en: "no {image}; there is: {tags}",
        fr: "pas de {image} ; il y a : {tags}";

        ObjectWanted "object-wanted" { kind, which, condition }
        en: "{kind} {which}: {condition}",
        fr: "{kind} {which} : {condition}";

        ObjectSeen "object-seen" { kind, which, count, values }
        en: "{kind} {which}: found {count}, {values}",
        fr: "{kind} {which} : trouvé {count}, {values}";

        ImageConfigWanted "image-config-wanted" { image, wanted }
        en: "image {image} with: {wanted}",
        fr: "image {image} avec : {wanted}";

        ImageConfig "image-config" { image, user, layers, bytes, base }
        en: "image {image}: user {user}, layers {layers}, bytes above its base {bytes} (base: {base})",
        fr: "image {image} : utilisateur {user}, couches {layers}, octets au-dessus de sa base {bytes} (base : {base})";

        ImageOfCommitWanted "image-of-commit-wanted" { repository, commit }
        en: "an image {repository} made from commit {commit} and named after it",
        fr: "une image {repository} construite à partir du commit {commit} et nommée d’après lui";

        ImageOfCommit "image-of-commit" { repository, tags }
        en: "tags of {repository}: {tags}",
        fr: "tags de {repository} : {tags}";

        FileWanted "file-wanted" { path, wanted }
        en: "{path} with: {wanted}",
        fr: "{path} avec : {wanted}";

        FileSeen "file-seen" { path, found }
        en: "{path}: {found}",
        fr: "{path} : {found}";

        FileLines "file-lines" { path, lines }
        en: "{path}: lines {lines}",
        fr: "{path} : lignes {lines}";

        CommandWanted "command-wanted" { command, exit, output }
        en: "{command} ends with {exit} and prints {output}",
        fr: "{command} se termine avec {exit} et affiche {output}";

        CommandSeen "command-seen" { command, exit, output }
        en: "{command} ended with {exit} and printed {output}",
        fr: "{command} s’est terminée avec {exit} et a affiché {output}";

        AnswersOfLearnerWanted "answers-of-learner-wanted" { questions }
        en: "right answers to: {questions}",
        fr: "de bonnes réponses à : {questions}";

        AnswersOfLearner "answers-of-learner" { right, asked }
        en: "right answers: {right} of {asked}",
        fr: "bonnes réponses : {right} sur {asked}";

        CommitWanted "commit-wanted" { dir, wanted }
        en: "commits of {dir} with: {wanted}",
        fr: "commits de {dir} avec : {wanted}";

        Commit "commit" { dir, branch, commit, changes }
        en: "{dir}: branch {branch}, commit {commit}, uncommitted files {changes}",
        fr: "{dir} : branche {branch}, commit {commit}, fichiers non commités {changes}";

        RevisionWanted "revision-wanted" { kind, name, image, history }
        en: "{kind} {name} runs {image}; history: {history}",
        fr: "le {kind} {name} exécute {image} ; historique : {history}";

        Revisions "revisions" { kind, name, image, replicas, history }
        en: "{kind} {name} runs {image} on {replicas} ready replicas; revisions: {history}",
        fr: "le {kind} {name} exécute {image} sur {replicas} répliques prêtes ; révisions : {history}";

        RolloutWanted "rollout-wanted" { rollout, state }
        en: "Rollout {rollout}: {state}",
        fr: "Rollout {rollout} : {state}";

        Rollout "rollout" { rollout, phase, step, weight, stable, wanted }
        en: "Rollout {rollout}: {phase}, step {step}, canary weight {weight}, stable {stable}, template {wanted}",
        fr: "Rollout {rollout} : {phase}, étape {step}, poids du canary {weight}, stable {stable}, modèle {wanted}";

        AvailabilityWanted "availability-wanted" { event, names, requests, failures }
        en: "{event} of {names} under at least {requests} requests, failures allowed: {failures}",
        fr: "{event} de {names} sous au moins {requests} requêtes, échecs tolérés : {failures}";

        Met "met" { requests, failed, from, to }
        en: "requests {requests}, failed {failed}, from {from} to {to}",
        fr: "requêtes {requests}, échouées {failed}, de {from} à {to}";

        MetFailures "met-failures" { requests, failed, from, to, first, premiers }
        en: "requests {requests}, failed {failed}, from {from} to {to}; failed first: {first}",
        fr: "requêtes {requests}, échouées {failed}, de {from} à {to} ; les premières à échouer : {premiers}";

        FailuresWanted "failures-wanted" { failures, version }
        en: "users met at least {failures} failures (version {version})",
        fr: "les utilisateurs ont subi au moins {failures} échecs (version {version})";

        RecoveryWanted "recovery-wanted" { failures, version, seconds }
        en: "at least {failures} failures (version {version}), over within {seconds} s",
        fr: "au moins {failures} échecs (version {version}), passés en {seconds} s";

        Recovery "recovery" { failures, seconds, since }
        en: "failures {failures}, within {seconds} s, {since} s of success since",
        fr: "échecs {failures}, en {seconds} s, suivis de {since} s de succès";

        MetricWanted "metric-wanted" { query, is }
        en: "{query} {is}",
        fr: "{query} {is}";

        Metric "metric" { query, values }
        en: "{query} gives {values}",
        fr: "{query} donne {values}";

        AlertWanted "alert-wanted" { alert, state }
        en: "alert {alert} is {state}",
        fr: "alerte {alert} : {state}";

        Alert "alert" { alert, state, fired }
        en: "alert {alert} is {state}, last seen firing at {fired}",
        fr: "alerte {alert} : {state}, vue déclenchée pour la dernière fois à {fired}";

        SharesWanted "shares-wanted" { url, shares, within }
        en: "{url} is answered by {shares}, give or take {within} points",
        fr: "{url} est servi par {shares}, à {within} points près";

        Shares "shares" { url, shares, requests }
        en: "{url} is answered by {shares} ({requests} requests)",
        fr: "{url} est servi par {shares} ({requests} requêtes)";

        ConfigurationWanted "configuration-wanted" { kind, name, fields }
        en: "{kind} {name}: {fields}",
        fr: "{kind} {name} : {fields}";

        Scaling "scaling" { hpa, highest, replicas }
        en: "HorizontalPodAutoscaler {hpa}: load made it ask for {highest} replicas at most, there are {replicas} now",
        fr: "HorizontalPodAutoscaler {hpa} : la charge lui a fait demander {highest} répliques au plus, il y en a {replicas}";

        ScalingWanted "scaling-wanted" { hpa, reached, now }
        en: "HorizontalPodAutoscaler {hpa} asks for at least {reached} replicas under load, now at most {now}",
        fr: "l’HorizontalPodAutoscaler {hpa} demande au moins {reached} répliques sous la charge, maintenant {now} au plus";

        RunWanted "run-wanted" { repository, commit, conclusion }
        en: "the pipeline of {repository} ended with {conclusion} for commit {commit}",
        fr: "le pipeline de {repository} s’est terminé par {conclusion} pour le commit {commit}";

        Run "run" { repository, run, commit, conclusion, steps }
        en: "run {run} of {repository} for commit {commit}: {conclusion}; steps: {steps}",
        fr: "exécution {run} de {repository} pour le commit {commit} : {conclusion} ; étapes : {steps}";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn every_fact_is_said_in_both_languages() {
        for fact in Fact::samples() {
            for language in Language::ALL {
                assert!(
                    fact.text(language).contains('<'),
                    "{} {language}",
                    fact.id()
                );
            }
            assert_eq!(fact.look(), None);
        }
    }
}
